/** One server-sent event. */
export interface ServerSentEventMessage {
  /** Ignored by the client. */
  comment?: string;
  event?: string;
  data?: string;
  id?: string | number;
  /** Milliseconds. */
  retry?: number;
}

/** Turns server-sent events into the bytes of an event stream. */
export declare class ServerSentEventStream extends TransformStream<ServerSentEventMessage, Uint8Array<ArrayBuffer>> {
  constructor();
}
