import { assertEquals } from "@std/assert";
import { pathOf } from "../../../lib/web/paths.ts";

Deno.test("pathOf() returns the path as received, without the query", () => {
  const table: Record<string, string> = {
    "http://h:1/a/b?c=/d#e": "/a/b",
    "http://h:1": "/",
    "http://h:1?x": "/",
    "http://h:1/%2e%2e/a/../b//c": "/%2e%2e/a/../b//c",
    "https://[::1]:1/a": "/a",
    "http:///a": "/a",
    "not a URL": "/",
  };
  for (const [url, path] of Object.entries(table)) assertEquals(pathOf(url), path, url);
});
