/**
 * Two self-signed certificates for `localhost` and 127.0.0.1, with their keys. They are valid from 2020 to 2120,
 * and for tests only.
 *
 * @module
 */

/** A certificate and its key, in PEM. */
export interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** The certificate that tests use first. */
export const FIRST: Pair = {
  cert: `-----BEGIN CERTIFICATE-----
MIIBXDCCAQKgAwIBAgIBATAKBggqhkjOPQQDAjAQMQ4wDAYDVQQDDAVmaXJzdDAg
Fw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowEDEOMAwGA1UEAwwFZmly
c3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQcF8eQF9fsrNNJ1aVdLUg0ITkm
//fpOu8ptAdb3/JOba4QqBaAsIfBJRMN+eFa2GxNkP2RnVUsKgYKUCW04ADdo0sw
STAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwDAYDVR0TAQH/BAIwADAdBgNV
HQ4EFgQUQKQavBT2kOj35V8zQXMFJNZfTX0wCgYIKoZIzj0EAwIDSAAwRQIhAKHT
4knEqnIUUcJ+6+UpBAbVbupqEaOQf562qvJSi4WeAiBLlYiW9Yk+ocEC7NHnXQrn
qxjRxUipeujEsa2wqxZAAw==
-----END CERTIFICATE-----
`,
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgJ3MxkmmxQiXpcVig
fN5dD6ZRVI57t/vh8eEArEXjcCGhRANCAAQcF8eQF9fsrNNJ1aVdLUg0ITkm//fp
Ou8ptAdb3/JOba4QqBaAsIfBJRMN+eFa2GxNkP2RnVUsKgYKUCW04ADd
-----END PRIVATE KEY-----
`,
};

/** The certificate that replaces it. */
export const SECOND: Pair = {
  cert: `-----BEGIN CERTIFICATE-----
MIIBXjCCAQSgAwIBAgIBATAKBggqhkjOPQQDAjARMQ8wDQYDVQQDDAZzZWNvbmQw
IBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBExDzANBgNVBAMMBnNl
Y29uZDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABPL+y7sf7Ezhk0nPNLKEZxK/
XfDU4dEf9O/Gpetz7jOr/zPGitf7auD4l/qkOSUb/BeUzDMZOs/TwRi7cTWTOoCj
SzBJMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAMBgNVHRMBAf8EAjAAMB0G
A1UdDgQWBBTFi1KMMOZQ7NTwD3evMBEWJ3pcbDAKBggqhkjOPQQDAgNIADBFAiEA
2iZF8nsWNKR/vjjulrRLwTpD9iENQacitMvSFbTmcsACIByj2sfz/nW0YhVyXyy5
jfihyzTpONJdcnkKMi+h5eWU
-----END CERTIFICATE-----
`,
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgubK1v3GQYlsKzHCE
ZXcS+CPkvUPUPCMdfshiiuez4sWhRANCAATy/su7H+xM4ZNJzzSyhGcSv13w1OHR
H/TvxqXrc+4zq/8zxorX+2rg+Jf6pDklG/wXlMwzGTrP08EYu3E1kzqA
-----END PRIVATE KEY-----
`,
};
