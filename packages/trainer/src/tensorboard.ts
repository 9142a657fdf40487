import { BinaryWriter } from '@bufbuild/protobuf/wire';
import crc32c from 'crc-32/crc32c.js';

// Field numbers of TensorFlow's event.proto and summary.proto.
const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5, sessionLog: 7 } as const;
const SUMMARY = { value: 1 } as const;
const VALUE = { tag: 1, simpleValue: 2 } as const;
const SESSION_LOG = { status: 1 } as const;
const SESSION_START = 1;

/** Returns the first record of a TensorBoard event file. */
export function versionEvent(seconds: number): Uint8Array {
  return record(event(seconds, 0).tag(EVENT.fileVersion, 2).string('brain.Event:2'));
}

/** Returns the record of a restart at `step`: TensorBoard discards earlier events from that step. */
export function restartEvent(seconds: number, step: number): Uint8Array {
  const session = new BinaryWriter().tag(SESSION_LOG.status, 0).int32(SESSION_START);
  return record(event(seconds, step).tag(EVENT.sessionLog, 2).bytes(session.finish()));
}

/** Returns the record of a step's scalars without nulls. */
export function scalarsEvent(
  seconds: number,
  step: number,
  scalars: Readonly<Record<string, number | null>>,
): Uint8Array {
  const summary = new BinaryWriter();
  for (const [tag, value] of Object.entries(scalars)) {
    if (value === null) continue;
    const entry = new BinaryWriter().tag(VALUE.tag, 2).string(tag).tag(VALUE.simpleValue, 5).float(value);
    summary.tag(SUMMARY.value, 2).bytes(entry.finish());
  }
  return record(event(seconds, step).tag(EVENT.summary, 2).bytes(summary.finish()));
}

function event(seconds: number, step: number): BinaryWriter {
  return new BinaryWriter().tag(EVENT.wallTime, 1).double(seconds).tag(EVENT.step, 0).int64(step);
}

/** TFRecord framing: length, its masked CRC-32C, data, its masked CRC-32C, little-endian. */
function record(message: BinaryWriter): Uint8Array {
  const data = message.finish();
  const framed = Buffer.alloc(data.length + 16);
  framed.writeBigUInt64LE(BigInt(data.length), 0);
  framed.writeUInt32LE(maskedCrc(framed.subarray(0, 8)), 8);
  framed.set(data, 12);
  framed.writeUInt32LE(maskedCrc(data), data.length + 12);
  return framed;
}

/** Returns the length of an event file up to the first damaged record. */
export function wholeRecords(file: Buffer): number {
  let end = 0;
  while (file.length - end >= 16) {
    const length = file.readBigUInt64LE(end);
    if (length > file.length - end - 16) break;
    const data = file.subarray(end + 12, end + 12 + Number(length));
    const isWhole =
      file.readUInt32LE(end + 8) === maskedCrc(file.subarray(end, end + 8)) &&
      file.readUInt32LE(end + 12 + data.length) === maskedCrc(data);
    if (!isWhole) break;
    end += data.length + 16;
  }
  return end;
}

/** CRC-32C rotated right by 15 and offset, as in TFRecord. */
function maskedCrc(data: Uint8Array): number {
  const crc = crc32c.buf(data) >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
