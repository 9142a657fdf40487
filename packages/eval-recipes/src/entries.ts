import { type NamedEntry, TASK_FILE, taskEntriesOf } from './task-files/task-entries.ts';
import { TASKS } from './tasks/catalogue.ts';

/** A built-in task by name. */
function builtIn(name: string): NamedEntry | undefined {
  const entry = TASKS.get(name);
  return entry && { name, ...entry };
}

/**
 * The tasks of a name: a built-in task, or those of a file (`TASK_FILE`). Empty for any other name.
 *
 * @throws ConfigurationError with every problem of a file
 */
export function entriesOf(name: string): readonly NamedEntry[] {
  return TASK_FILE.test(name) ? taskEntriesOf(name, builtIn) : [builtIn(name) ?? []].flat();
}
