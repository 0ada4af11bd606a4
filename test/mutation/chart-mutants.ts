/**
 * Faults that a program makes in a statechart: each is one change of its definition. Nothing is edited; the definition is
 * copied along the way to the change.
 */
import type { AnyStateMachine } from 'xstate';

/** What a mutant lacks, or has too much of. */
export const KINDS = [
  /** An action is left out of a transition, an entry or an exit. */
  'action',
  /** A guard, or one of those it is made of, is always true, in one transition. */
  'guard true',
  /** A guard is never true, in one transition. */
  'guard false',
  /** A transition without a guard is left out. */
  'transition',
  /** A delayed transition never fires. */
  'delay',
  /** A transition does what it does, and leads nowhere. */
  'target',
  /** Nothing is invoked. */
  'invoke',
  /** A key is left out of what an action assigns. */
  'key',
  /** A message, a timer, a child or a fact is left out of what an action does. */
  'effect',
] as const;
export type Kind = (typeof KINDS)[number];

export interface ChartMutant {
  readonly kind: Kind;
  /** Where and what, in words: unique in its machine. */
  readonly name: string;
  /** The definition with the fault in it. */
  readonly config: Definition;
}

/** A definition as written, as far as it is read here. */
export type Definition = Readonly<Record<string, unknown>>;
type Path = readonly (string | number)[];

/** A change of what is at the end of the path. Undefined leaves it out. */
interface Change {
  readonly kind: Kind;
  readonly name: string;
  readonly path: Path;
  readonly to: unknown;
}

const isDefinition = (value: unknown): value is Definition => typeof value === 'object' && value !== null;
const fieldsOf = (value: unknown): readonly (readonly [string, unknown])[] =>
  isDefinition(value) ? Object.entries(value) : [];
const listOf = (value: unknown): readonly unknown[] =>
  value === undefined ? [] : Array.isArray(value) ? value : [value];

/** A copy with another value at the end of the path. */
function changed(value: unknown, [key, ...rest]: Path, to: unknown): unknown {
  if (key === undefined) return to;
  if (Array.isArray(value))
    return value.map((part, index) => (index === key ? changed(part, rest, to) : part));
  const fields = fieldsOf(value).map(([name, part]) => [name, name === key ? changed(part, rest, to) : part]);
  return Object.fromEntries(fields.filter(([, part]) => part !== undefined));
}

export function definitionOf({ config }: AnyStateMachine): Definition {
  const definition: unknown = config;
  if (!isDefinition(definition)) throw new Error('a definition is an object');
  return definition;
}

/** Every fault that can be made in a machine's definition. */
export function chartMutants(machine: AnyStateMachine): readonly ChartMutant[] {
  const definition = definitionOf(machine);
  return changesIn(definition, [], '').map(({ kind, name, path, to }) => {
    const faulty = changed(definition, path, to);
    if (!isDefinition(faulty)) throw new Error('a definition stays an object');
    return { kind, name, config: faulty };
  });
}

function changesIn(node: unknown, path: Path, state: string): readonly Change[] {
  return fieldsOf(node).flatMap(([field, value]): readonly Change[] => {
    const at = [...path, field];
    const where = state === '' ? 'everywhere' : state;
    switch (field) {
      case 'entry':
      case 'exit':
        return withoutEachAction(value, at, `${where}, ${field}`);
      case 'always':
        return changesOfWays(value, at, `${where}, always`);
      case 'on':
        return fieldsOf(value).flatMap(([event, ways]) =>
          changesOfWays(ways, [...at, event], `${where}, ${event}`),
        );
      case 'after':
        return fieldsOf(value).flatMap(([delay, ways]): readonly Change[] => [
          {
            kind: 'delay',
            name: `${where}, after ${delay}: never fires`,
            path: [...at, delay],
            to: undefined,
          },
          ...changesOfWays(ways, [...at, delay], `${where}, after ${delay}`).filter(
            // One way alone that is left out is a delay that never fires.
            ({ kind }) => kind !== 'transition' || listOf(ways).length > 1,
          ),
        ]);
      case 'invoke':
        return [
          { kind: 'invoke', name: `${where}: invokes nothing`, path: at, to: undefined },
          ...fieldsOf(value)
            .filter(([part]) => part === 'onDone' || part === 'onError')
            .flatMap(([part, ways]) => changesOfWays(ways, [...at, part], `${where}, ${part}`)),
        ];
      case 'states':
        return fieldsOf(value).flatMap(([child, part]) =>
          changesIn(part, [...at, child], state === '' ? child : `${state}.${child}`),
        );
      default:
        return [];
    }
  });
}

/** Of transitions that one event has in one state: in their order, the first whose guard is true is taken. */
function changesOfWays(value: unknown, path: Path, where: string): readonly Change[] {
  const ways = listOf(value).map((way) => (typeof way === 'string' ? { target: way } : way));
  return ways.flatMap((way, index): readonly Change[] => {
    const place = ways.length === 1 ? where : `${where} [${index}]`;
    const { guard, target, actions } = isDefinition(way) ? way : {};
    const others = ways.filter((other) => other !== way);
    const instead = (other: Definition): readonly unknown[] => ways.map((one) => (one === way ? other : one));
    const changes: Change[] = [];
    if (guard === undefined) {
      changes.push({ kind: 'transition', name: `${place}: is left out`, path, to: others });
    } else {
      const name = guardText(guard);
      changes.push({ kind: 'guard false', name: `${place}: ${name} is never true`, path, to: others });
      for (const [which, left] of weakerThan(guard)) {
        const to = instead(merged(way, 'guard', left));
        changes.push({ kind: 'guard true', name: `${place}: ${which} is always true`, path, to });
      }
    }
    if (target !== undefined) {
      const to = instead(merged(way, 'target', undefined));
      changes.push({ kind: 'target', name: `${place}: stays`, path, to });
    }
    const list = listOf(actions);
    for (const [at, action] of list.entries()) {
      const to = instead(
        merged(
          way,
          'actions',
          list.filter((_, other) => other !== at),
        ),
      );
      changes.push({ kind: 'action', name: `${place}: without ${actionText(list, at, action)}`, path, to });
    }
    return changes;
  });
}

function withoutEachAction(value: unknown, path: Path, where: string): readonly Change[] {
  const actions = listOf(value);
  return actions.map((action, at) => ({
    kind: 'action',
    name: `${where}: without ${actionText(actions, at, action)}`,
    path,
    to: actions.filter((_, other) => other !== at),
  }));
}

function merged(way: unknown, field: string, to: unknown): Definition {
  const fields = fieldsOf(way).map(([name, part]) => [name, name === field ? to : part]);
  return Object.fromEntries(fields.filter(([, part]) => part !== undefined));
}

/** What is left of a guard when it, or one of those it is made of, is always true. */
function weakerThan(guard: unknown): readonly (readonly [which: string, left: unknown])[] {
  const whole = [guardText(guard), undefined] as const;
  const made = madeOf(guard);
  if (made?.how !== 'and') return [whole];
  return [
    whole,
    ...made.parts.map((part, index) => {
      const left = made.parts.filter((_, other) => other !== index);
      return [guardText(part), left.length === 1 ? left[0] : madeAnew(guard, left)] as const;
    }),
  ];
}

/** Guards that `and` and `not` of XState make are functions, which have their parts as a property. */
function madeOf(guard: unknown): { readonly how: string; readonly parts: readonly unknown[] } | undefined {
  const parts: unknown = typeof guard === 'function' ? Reflect.get(guard, 'guards') : undefined;
  return typeof guard === 'function' && Array.isArray(parts) ? { how: guard.name, parts } : undefined;
}

const madeAnew = (guard: unknown, guards: readonly unknown[]): unknown =>
  Object.assign(() => undefined, Object(guard), { guards });

function guardText(guard: unknown): string {
  if (typeof guard === 'string') return guard;
  const made = madeOf(guard);
  if (made === undefined) throw new Error('a guard has a name');
  const texts = made.parts.map(guardText);
  return made.how === 'not' ? `not ${texts.join()}` : texts.join(` ${made.how} `);
}

/** By its name; by its place as well where it is named twice, or has parameters of its own. */
function actionText(list: readonly unknown[], at: number, action: unknown): string {
  if (typeof action === 'string') {
    return list.indexOf(action) === list.lastIndexOf(action) ? action : `${action} [${at}]`;
  }
  if (isDefinition(action) && typeof action.type === 'string') return `${action.type} [${at}]`;
  throw new Error('an action has a name');
}
