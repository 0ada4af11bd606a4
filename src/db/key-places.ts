/** As many rows as Google gives on a page. */
export const ROWS_OF_A_PLACE = 25_000;
/** 2 MB in one piece: pages that come and go one by one would leave holes that nobody else fits into. */
const PLACES_OF_A_SLAB = 16;

/** Room for the keys of one page. */
export interface Place {
  readonly low: Uint32Array;
  readonly high: Uint8Array;
}

/** Places for pages, used again. The one given back last is taken next: what was never needed takes no memory. */
export class PlacePool {
  readonly #free: Place[] = [];

  take(): Place {
    return this.#free.pop() ?? this.#addSlab();
  }

  give(place: Place): void {
    this.#free.push(place);
  }

  /** The first place of it; the others are free. */
  #addSlab(): Place {
    const low = new Uint32Array(ROWS_OF_A_PLACE * PLACES_OF_A_SLAB);
    const high = new Uint8Array(low.length);
    const placeAt = (from: number): Place => ({
      low: low.subarray(from, from + ROWS_OF_A_PLACE),
      high: high.subarray(from, from + ROWS_OF_A_PLACE),
    });
    for (let place = PLACES_OF_A_SLAB - 1; place > 0; place -= 1) {
      this.#free.push(placeAt(place * ROWS_OF_A_PLACE));
    }
    return placeAt(0);
  }
}
