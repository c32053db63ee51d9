//! Writing heads anew from what was parsed.

use std::net::IpAddr;

use super::{Framing, RequestHead, ResponseHead, Version};

/// What is added to, and taken from, a request on its way to a server.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// The client's address, appended to `X-Forwarded-For`.
    pub client: IpAddr,
    /// `http` or `https`: how the client came.
    pub proto: &'a str,
    /// The pseudonym for `Via`.
    pub via: &'a str,
    /// The name of the token cookie, which the server does not see.
    pub token_cookie: &'a [u8],
    /// Keep the connection to the server for more requests?
    pub keep_alive_upstream: bool,
    /// Pass the wish to upgrade on.
    pub tunnel: bool,
    /// Pass `Expect: 100-continue` on.
    pub expect_continue: bool,
}

/// What is changed in a response on its way to the client.
#[derive(Clone, Copy, Debug)]
pub struct ResponseEdit<'a> {
    /// The client's version.
    pub client_version: Version,
    /// Send `Connection: close`.
    pub close: bool,
    /// The value of a `Set-Cookie` field of our own.
    pub set_cookie: Option<&'a [u8]>,
    /// The name of the token cookie: a server that sets it is not heard.
    pub token_cookie: &'a [u8],
    /// The pseudonym for `Via`.
    pub via: &'a str,
    /// More fields to add.
    pub extra: &'a [(&'a str, &'a [u8])],
    /// The request was a `HEAD`: there is no body, whatever the fields say.
    pub request_is_head: bool,
}

/// Writes the head of a request for a server, always as HTTP/1.1.
pub fn write_request(out: &mut Vec<u8>, buf: &[u8], head: &RequestHead, f: &Forwarding<'_>) {
    let _ = (out, buf, head, f);
    unimplemented!()
}

/// Writes the head of a response for a client. Returns the framing of the body that must follow:
/// chunked becomes until-close for a 1.0 client (close the connection after it), and until-close
/// from the server becomes chunked for a 1.1 client.
pub fn write_response(
    out: &mut Vec<u8>,
    buf: &[u8],
    head: &ResponseHead,
    e: &ResponseEdit<'_>,
) -> Framing {
    let _ = (out, buf, head, e);
    unimplemented!()
}

/// Writes an interim response (100, 102, 103). Never send one to an HTTP/1.0 client.
pub fn write_interim(out: &mut Vec<u8>, buf: &[u8], head: &ResponseHead) {
    let _ = (out, buf, head);
    unimplemented!()
}

/// Every value of the cookie `name`, across all `Cookie` fields.
pub fn cookie<'a>(
    buf: &'a [u8],
    head: &RequestHead,
    name: &[u8],
) -> impl Iterator<Item = &'a [u8]> {
    let _ = (buf, head, name);
    std::iter::empty()
}
