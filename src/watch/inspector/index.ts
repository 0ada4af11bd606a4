/** `longtail/inspect`: watch the machines of a run, in Stately's inspector or in a page of your own. */

export {
  type BridgeOptions,
  type InspectorBridge,
  serveInspector,
} from './bridge.ts';
export { createInspector, type Inspector, type InspectorOptions, type Watcher } from './inspector.ts';
export type {
  ActorMessage,
  EventMessage,
  InspectorMessage,
  Json,
  SlimEvent,
  SlimSnapshot,
  SnapshotMessage,
} from './messages.ts';
