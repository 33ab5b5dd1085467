import { assertEquals } from "@std/assert";
import { parseClientLabel } from "../../../lib/settings/client_label.ts";

Deno.test("parseClientLabel() takes the three words, and the name of a header in any case", () => {
  for (const label of ["api-key", "user-agent", "address"]) assertEquals(parseClientLabel(label) as string, label);
  for (const name of ["X-Forwarded-User", "Remote-User", "x-auth-request-email", "Tailscale-User-Login"]) {
    assertEquals(parseClientLabel(`header:${name}`), `header:${name.toLowerCase()}`);
    assertEquals(parseClientLabel(`header: ${name}`), `header:${name.toLowerCase()}`);
  }
});

Deno.test("parseClientLabel() rejects everything else", () => {
  for (
    const text of ["", "API-KEY", "key", "header", "header:", "header:X Y", "header:X:Y", "Remote-User", "header:Ü"]
  ) {
    assertEquals(parseClientLabel(text), undefined, text);
  }
});

Deno.test("parseClientLabel() rejects headers with credentials, and those of the connection", () => {
  const credentials = [
    ...["Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "Api-Key", "Apikey"],
    ...["X-Auth-Token", "X-Auth-Key", "X-Forwarded-Access-Token", "Cf-Access-Jwt-Assertion", "X-Client-Secret"],
    ...["X-Auth", "X-Session-Id", "Session", "X-Signature"],
  ];
  const connection = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
  ];
  for (const name of [...credentials, ...connection]) {
    for (const text of [`header:${name}`, `header:${name.toLowerCase()}`]) {
      assertEquals(parseClientLabel(text), undefined, text);
    }
  }
});
