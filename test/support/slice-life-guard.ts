import type { Sql } from 'postgres';
import { FIRST_STATUSES, mayFollow, SLICE_STATUSES } from '../../src/domain/slice-life.ts';

/**
 * Makes the database refuse a step that is not in the table of a slice's life, and record those that are. Every test
 * whose database comes from the template is so a test of the table.
 */
export async function guardSliceLife(sql: Sql): Promise<void> {
  const steps = SLICE_STATUSES.flatMap((from) =>
    SLICE_STATUSES.filter((to) => mayFollow(from, to)).map((to) => [from, to] as const),
  );
  const listed = [...FIRST_STATUSES.map((to) => ['new', to] as const), ...steps]
    .map(([from, to]) => `('${from}', '${to}')`)
    .join(', ');
  await sql.unsafe(`
    create schema slice_life;
    create table slice_life.seen (step text primary key);
    create function slice_life.guard() returns trigger language plpgsql security definer as $$
    declare
      origin text := case tg_op when 'INSERT' then 'new' else old.status end;
    begin
      if tg_op = 'UPDATE' and origin = new.status then
        return null;
      end if;
      if (origin, new.status) not in (${listed}) then
        raise exception 'slice % may not go from % to %', new.id, origin, new.status;
      end if;
      insert into slice_life.seen values (origin || ' → ' || new.status) on conflict do nothing;
      return null;
    end $$;
    create trigger slice_life after insert or update of status on longtail.slice
      for each row execute function slice_life.guard();
  `);
}
