import { type NamedEntry, TASK_FILE, taskEntriesOf, withGroups } from './task-files/task-entries.ts';
import { TASKS } from './tasks/catalogue.ts';
import { GROUPS } from './tasks/groups.ts';

/** A built-in task by name. */
function builtIn(name: string): NamedEntry | undefined {
  const entry = TASKS.get(name);
  return entry && { name, ...entry };
}

/**
 * The tasks of a name: a built-in task, those of a built-in group, or of a file (`TASK_FILE`). Empty for any other name.
 *
 * @throws ConfigurationError with every problem of a file
 */
export function entriesOf(name: string): readonly NamedEntry[] {
  if (TASK_FILE.test(name)) return taskEntriesOf(name, builtIn);
  const group = GROUPS.get(name);
  if (group) return group.tasks.map((task) => withGroups(builtIn(task)!, [{ ...group, name }]));
  return [builtIn(name) ?? []].flat();
}
