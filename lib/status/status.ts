/**
 * The status page and its events, composed of the traffic history, the open requests and the state of Ollama.
 *
 * @module
 */

import { OTHER_MODEL, UNKNOWN_MODEL } from "../model_name.ts";
import type { ContextFinding, Observe, OpenRequest } from "../observation.ts";
import type { Ollama } from "../ollama/probes.ts";
import type { LoadedModel, ServerState } from "../ollama/state.ts";
import { maskCredentials } from "../settings/ollama_host.ts";
import { Feed, VIEWER_LIMIT } from "./feed.ts";
import { History } from "./history.ts";
import { displayName } from "./last_requests.ts";
import { createPage } from "./page.ts";
import { likelyCause } from "./upstream_hint.ts";

/** Path of the page. */
export const STATUS_PATH = "/-/";
/** Path of the page's events. The page refers to it by its last segment. */
export const EVENTS_PATH = "/-/events";

/** While there are viewers, the state of Ollama is fetched whenever it is older than this, in milliseconds. */
export const REFRESH_MS = 3000;

/** Maximum age of a state of Ollama that is shown, in milliseconds. */
export const STATE_LIMIT_MS = 15_000;

/** Maximum number of listed models. One more row sums up the others. */
export const MODEL_ROWS = 50;

/** Options of {@linkcode createStatus}. */
interface StatusOptions {
  /** Version of the exporter. */
  readonly version: string;
  /** Page of the project on GitHub. */
  readonly homepage: string;
  readonly metricsPath: string;
  /** Base URL of Ollama. */
  readonly upstream: URL;
  readonly ollama: Ollama;
  /** Measured requests in flight. */
  readonly openRequests: ReadonlySet<OpenRequest>;
  /** Called with an exception in the exporter's own code. */
  readonly internalError: (error: unknown) => void;
}

/** The status page of one exporter. */
export interface Status {
  /** Adds an observation to the history. */
  readonly observe: Observe;
  /** Adds what was found about the context of a request, after its observation. */
  observeContext(finding: ContextFinding): void;
  /** Responds with the page. */
  page(): Promise<Response>;
  /** Responds with the page's stream of events. */
  events(request: Pick<Request, "method">): Response;
  /** Ends the streams of events, which do not end by themselves, so that a listener can shut down. */
  endEvents(): void;
}

/** Content of the event `exporter`, which is sent once. */
export interface About {
  /** When the exporter was started, in milliseconds since the Unix epoch. */
  readonly startedAt: number;
  /** Base URL of Ollama, without credentials. */
  readonly upstream: string;
}

/** Content of the event `present`: the current state. */
export interface Present {
  /** Time of the event, in milliseconds since the Unix epoch. */
  readonly at: number;
  readonly inFlight: number;
  /** Requests in flight that are waiting for the first byte of their response. */
  readonly waiting: number;
  readonly ollama: {
    /** `undefined` if there is no recent state. */
    readonly isUp: boolean | undefined;
    readonly version: string | undefined;
    /** Reason for which it is not up. */
    readonly error: string | undefined;
    /** What is likely wrong then, and which setting changes it; `undefined` if the reason suggests nothing. */
    readonly cause: string | undefined;
    readonly installedModels: number | undefined;
    /** Whether it is known which models are loaded. */
    readonly listsLoaded: boolean;
  };
  /** Models that are loaded or have requests in flight, by name. */
  readonly models: readonly PresentModel[];
}

/** A model that is loaded or has requests in flight. */
interface PresentModel {
  readonly model: string;
  readonly inFlight: number;
  readonly waiting: number;
  /** `undefined` if it is not in memory, or still loading. */
  readonly loaded: PresentMemory | undefined;
}

/** What is shown of a loaded model. */
interface PresentMemory extends Omit<LoadedModel, "name" | "runners"> {
  /** For example `8.2B`. */
  readonly parameterSize: string;
  /** For example `Q4_K_M`. */
  readonly quantization: string;
}

/** Creates a status page without viewers. */
export function createStatus(options: StatusOptions): Status {
  const { ollama, internalError } = options;
  const history = new History();
  const page = createPage(options);
  const about: About = { startedAt: Date.now(), upstream: shown(options.upstream) };
  const feed = new Feed({
    parts: [
      { event: "exporter", version: () => 0, content: () => about },
      // Contains the time, so it changes with every send.
      { event: "present", version: () => performance.now(), content: () => presentOf(options) },
      { event: "plots", version: () => history.plotsVersion, content: () => history.plots() },
      { event: "totals", version: () => history.totalsVersion, content: () => history.totals() },
      { event: "requests", version: () => history.requestsVersion, content: () => history.requests },
      { event: "failures", version: () => history.failuresVersion, content: () => history.failures },
    ],
    // Not awaited: an Ollama that hangs must not delay the events.
    beforeSend: () => void ollama.refreshIfOlder(REFRESH_MS).catch(internalError),
    internalError,
  });
  return {
    observe: (observation) => history.observe(observation),
    observeContext: (finding) => history.observeContext(finding),
    page,
    events: (request) => eventsResponse(request, feed),
    endEvents: () => feed.end(),
  };
}

function eventsResponse(request: Pick<Request, "method">, feed: Feed): Response {
  const headers = {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  };
  if (request.method === "HEAD") return new Response(null, { headers });
  const events = feed.open();
  if (events !== undefined) return new Response(events, { headers });
  return new Response(`Too many viewers: at most ${VIEWER_LIMIT} status pages can be open\n`, {
    status: 503,
    headers: { ...headers, "content-type": "text/plain; charset=utf-8" },
  });
}

function shown(upstream: URL): string {
  return maskCredentials(upstream.href).replace(/\/$/, "");
}

function presentOf({ ollama, openRequests, upstream }: StatusOptions): Present {
  const state = isRecent(ollama.lastState) ? ollama.lastState : undefined;
  const error = state?.probes.version.error;
  const models = presentModels(openRequests, state?.loaded ?? []);
  return {
    at: Date.now(),
    inFlight: openRequests.size,
    waiting: models.reduce((sum, { waiting }) => sum + waiting, 0),
    ollama: {
      isUp: state && state.version !== undefined,
      version: state?.version,
      error,
      cause: error === undefined ? undefined : likelyCause(upstream, error),
      installedModels: state?.installed?.length,
      listsLoaded: state?.loaded !== undefined,
    },
    models: listed(models),
  };
}

function isRecent(state: ServerState | undefined): boolean {
  return state !== undefined && performance.now() - state.at < STATE_LIMIT_MS;
}

function presentModels(openRequests: Iterable<OpenRequest>, loaded: readonly LoadedModel[]): PresentModel[] {
  // Counts by name as spelled first: there are few names, but possibly thousands of requests.
  const byName = new Map<string, { inFlight: number; waiting: number }>();
  for (const { model = UNKNOWN_MODEL, waiting } of openRequests) {
    let counts = byName.get(model);
    if (counts === undefined) byName.set(model, counts = { inFlight: 0, waiting: 0 });
    counts.inFlight++;
    if (waiting) counts.waiting++;
  }
  const models = new Map<string, PresentModel>();
  for (const { name, runners: [details], ...memory } of loaded) {
    const model = displayName(name);
    const { parameterSize = "", quantizationLevel: quantization = "" } = details ?? {};
    models.set(model.toLowerCase(), {
      model,
      inFlight: 0,
      waiting: 0,
      loaded: { ...memory, parameterSize, quantization },
    });
  }
  for (const [name, counts] of byName) {
    const model = name === UNKNOWN_MODEL ? name : displayName(name);
    const key = model.toLowerCase();
    models.set(key, merged(models.get(key) ?? { model, inFlight: 0, waiting: 0, loaded: undefined }, counts));
  }
  return [...models.values()];
}

type Counts = Pick<PresentModel, "inFlight" | "waiting">;

function merged(model: PresentModel, { inFlight, waiting }: Counts): PresentModel {
  return { ...model, inFlight: model.inFlight + inFlight, waiting: model.waiting + waiting };
}

/** Lists models by name, for a stable order. If there are too many, busy and loaded ones are preferred. */
function listed(models: readonly PresentModel[]): PresentModel[] {
  const weight = ({ inFlight, loaded }: PresentModel): number => inFlight + (loaded === undefined ? 0 : 0.5);
  const byWeight = models.toSorted((a, b) => weight(b) - weight(a));
  const rest = byWeight.slice(MODEL_ROWS);
  const others: PresentModel = { model: OTHER_MODEL, inFlight: 0, waiting: 0, loaded: undefined };
  return [
    ...byWeight.slice(0, MODEL_ROWS).sort((a, b) => a.model < b.model ? -1 : 1),
    ...rest.length === 0 ? [] : [rest.reduce(merged, others)],
  ];
}
