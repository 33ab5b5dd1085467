import { assertEquals } from "@std/assert";
import { authorityOf, pathOf } from "../../../lib/web/paths.ts";

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

Deno.test("authorityOf() returns host and port as received", () => {
  const table: Record<string, string> = {
    "http://h:1/a//b?c=/d#e": "h:1",
    "HTTPS://A.b": "A.b",
    "http://h?x=//y": "h",
    "http://[::1]:1/a": "[::1]:1",
    "http://user@h/": "user@h",
    "http:///a": "",
    "not a URL": "",
  };
  for (const [url, authority] of Object.entries(table)) assertEquals(authorityOf(url), authority, url);
});
