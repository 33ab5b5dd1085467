/**
 * The classes of prom-client that metrics are made of, without its index. That loads clusters, push gateways, default
 * metrics and their dependencies as well, which takes 30 to 50 ms at each start (prom-client 15.1.3, Deno 2.9.6). The
 * package declares no types for its modules: they are those of the index.
 *
 * @module
 */

import type * as Index from "prom-client";
import counter from "prom-client/lib/counter.js";
import gauge from "prom-client/lib/gauge.js";
import histogram from "prom-client/lib/histogram.js";
import registry from "prom-client/lib/registry.js";

export const Counter: typeof Index.Counter = counter;
export type Counter<Label extends string = string> = Index.Counter<Label>;

export const Gauge: typeof Index.Gauge = gauge;

export const Histogram: typeof Index.Histogram = histogram;
export type Histogram<Label extends string = string> = Index.Histogram<Label>;

export const Registry: typeof Index.Registry = registry;
export type Registry<ContentType extends Index.RegistryContentType = Index.PrometheusContentType> = Index.Registry<
  ContentType
>;
