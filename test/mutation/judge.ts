/**
 * A process that judges one fault after another by what takes no test runner: the tables, then the walks through the small
 * worlds. It is told which by messages, and answers each with what has noticed it first.
 */
import { MACHINE_NAMES, type MachineName } from '../machines/tables/sheets.ts';
import { findInTables } from './in-tables.ts';
import { type Mutant, mutantsOf, plant } from './mutant.ts';
import { type Finding, findByWalking, type ModelName, measureWalks, type WalkSizes } from './walks.ts';

export type JudgeOrder =
  /** How large the worlds are, and what mutants there are. */
  | { readonly type: 'measure'; readonly model: ModelName }
  | { readonly type: 'list'; readonly machine: MachineName }
  /** `mutant`: undefined where the sources themselves have been edited. */
  | {
      readonly type: 'judge';
      readonly mutant: Mutant | undefined;
      readonly model: ModelName | undefined;
      readonly sizes: WalkSizes;
    };

export type JudgeReport =
  | { readonly type: 'measured'; readonly sizes: WalkSizes }
  | { readonly type: 'listed'; readonly mutants: readonly Mutant[] }
  | { readonly type: 'judged'; readonly finding: Finding | undefined };

function judge({ mutant, model, sizes }: Extract<JudgeOrder, { type: 'judge' }>): Finding | undefined {
  const remove = mutant === undefined ? () => undefined : plant(mutant);
  try {
    const inTables = findInTables(mutant === undefined ? MACHINE_NAMES : [mutant.machine]);
    if (inTables !== undefined || model === undefined) return inTables;
    return findByWalking(model, sizes);
  } catch (error) {
    return { by: 'walk', detail: error instanceof Error ? error.message : String(error) };
  } finally {
    remove();
  }
}

function answer(order: JudgeOrder): JudgeReport {
  switch (order.type) {
    case 'measure':
      return { type: 'measured', sizes: measureWalks(order.model) };
    case 'list':
      return { type: 'listed', mutants: mutantsOf(order.machine) };
    case 'judge':
      return { type: 'judged', finding: judge(order) };
  }
}

process.on('message', (order: JudgeOrder) => {
  process.send?.(answer(order));
});
