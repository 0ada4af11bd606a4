/** Formats figures for the report. */

export const seconds = (ms: number): string => `${(ms / 1_000).toFixed(ms < 10_000 ? 2 : 1)} s`;
export const millis = (ms: number): string => `${ms.toFixed(ms < 10 ? 2 : ms < 100 ? 1 : 0)} ms`;
export const whole = (value: number): string => Math.round(value).toLocaleString('en');
export const megabytes = (bytes: number): string => `${whole(bytes / 1e6)} MB`;
export const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
export const times = (ratio: number): string => `${ratio.toFixed(ratio < 100 ? 2 : 0)}×`;
