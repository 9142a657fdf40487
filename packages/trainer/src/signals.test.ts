import { afterEach, describe, expect, it } from 'vitest';
import { type StopSignals, stopOnSignals } from './signals.ts';

let stop: StopSignals | undefined;
afterEach(() => stop?.dispose());

const send = (name: NodeJS.Signals) => process.emit(name, name);
/** Whether a signal would now meet this program rather than the system's default, which ends it. */
const isHeard = (name: NodeJS.Signals) => process.listenerCount(name) > 0;

describe('stopOnSignals', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGUSR2'] as const)(
    'the first %s aborts, a second ends the process',
    (name) => {
      stop = stopOnSignals();
      send(name);
      expect(stop.signal).toMatchObject({ aborted: true, reason: name });
      expect(isHeard(name)).toBe(false);
    },
  );

  it('a hangup aborts and never ends a process that is stopping', () => {
    stop = stopOnSignals();
    send('SIGHUP');
    send('SIGHUP');
    expect(stop.signal.reason).toBe('SIGHUP');
    expect(['SIGHUP', 'SIGTERM', 'SIGINT'].map((name) => isHeard(name as 'SIGHUP'))).toEqual([
      true,
      true,
      true,
    ]);
    send('SIGTERM');
    expect(stop.signal.reason).toBe('SIGHUP');
    expect(isHeard('SIGTERM')).toBe(false);
    expect(isHeard('SIGHUP')).toBe(true);
    stop.dispose();
    expect(isHeard('SIGHUP')).toBe(false);
  });
});
