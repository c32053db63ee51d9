//! Why a message was refused.

use std::fmt;

/// Why a message was refused. The connection it came on cannot be used any more, since nobody can
/// say where the next message begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reject {
    /// `Content-Length` and `Transfer-Encoding` in one message (RFC 9112, 6.1).
    BothLengthAndChunked,
    /// More than one `Content-Length`, or a list in one, even of equal values.
    DuplicateLength,
    /// `Content-Length` is not a decimal number below 2^64.
    BadLength,
    /// `Transfer-Encoding` is anything but one single `chunked`.
    TransferEncodingUnsupported,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    TransferEncodingWithHttp10,
    /// A field continued on the next line (obsolete line folding).
    ObsFold,
    /// A carriage return that is not part of a line end.
    BareCr,
    /// A line that ends in a line feed alone.
    BareLf,
    /// A NUL byte in the head.
    NulInField,
    /// White space between a field's name and its colon.
    SpaceBeforeColon,
    /// More empty lines before a request than are ignored.
    EmptyLines,
    /// The first line is not `method SP target SP version`.
    BadRequestLine,
    /// The method is not a token, or is too long.
    BadMethod,
    /// The target is in no form that this method may use, or has a forbidden byte.
    BadTarget,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    BadVersion,
    /// The first line is not `version SP status SP reason`.
    BadStatusLine,
    /// HTTP/1.1 without `Host`.
    MissingHost,
    /// More than one `Host`.
    DuplicateHost,
    /// `Host`, or the authority in the target, is not `host[:port]`.
    BadHost,
    /// A field name is empty, is not a token, or has no colon after it.
    BadFieldName,
    /// A control character in a field value.
    BadFieldValue,
    /// The head is longer than the limit.
    HeadTooLarge,
    /// More fields, or more `Connection` options, than the limit.
    TooManyFields,
    /// The first line alone is longer than the limit for heads.
    TargetTooLong,
    /// A chunk size is not a hexadecimal number below 2^64.
    BadChunkSize,
    /// A chunk extension is malformed.
    BadChunkExtension,
    /// A chunk extension is longer than the limit.
    ChunkExtensionTooLong,
    /// A chunk's data is not followed by a line end.
    ChunkDataWithoutCrlf,
    /// The trailer section is longer than the limit.
    TrailerTooLarge,
    /// The trailer section is malformed.
    BadTrailer,
    /// `CONNECT`: this is not a forward proxy.
    ConnectUnsupported,
    /// `TRACE`: it would show the client the fields that are added on the way.
    TraceUnsupported,
    /// `Expect` is anything but `100-continue`.
    ExpectationUnsupported,
    /// The peer closed in the middle of a message.
    Truncated,
}

impl Reject {
    /// A stable label, for metrics and logs.
    pub fn reason(&self) -> &'static str {
        self.describe().0
    }

    /// The status for a client whose request was refused for this. A response refused for it is
    /// always a 502.
    pub fn status(&self) -> u16 {
        match self {
            Reject::TargetTooLong => 414,
            Reject::ExpectationUnsupported => 417,
            Reject::HeadTooLarge | Reject::TooManyFields | Reject::TrailerTooLarge => 431,
            Reject::ConnectUnsupported | Reject::TraceUnsupported => 501,
            Reject::BadVersion => 505,
            _ => 400,
        }
    }

    #[rustfmt::skip] // one line for each reason reads as the table that it is
    fn describe(&self) -> (&'static str, &'static str) {
        match self {
            Reject::BothLengthAndChunked => ("both-length-and-chunked", "the message has both Content-Length and Transfer-Encoding"),
            Reject::DuplicateLength => ("duplicate-length", "the message has more than one Content-Length"),
            Reject::BadLength => ("bad-length", "Content-Length is not a plain decimal number"),
            Reject::TransferEncodingUnsupported => ("transfer-encoding-unsupported", "Transfer-Encoding is not a single \"chunked\""),
            Reject::TransferEncodingWithHttp10 => ("transfer-encoding-with-http10", "HTTP/1.0 has no Transfer-Encoding"),
            Reject::ObsFold => ("obs-fold", "a field is continued on the next line"),
            Reject::BareCr => ("bare-cr", "there is a carriage return inside a line"),
            Reject::BareLf => ("bare-lf", "a line ends without a carriage return"),
            Reject::NulInField => ("nul-in-field", "there is a NUL byte in the head"),
            Reject::SpaceBeforeColon => ("space-before-colon", "there is white space between a field's name and its colon"),
            Reject::EmptyLines => ("empty-lines", "there are too many empty lines before the request"),
            Reject::BadRequestLine => ("bad-request-line", "the first line is not a method, a target and a version"),
            Reject::BadMethod => ("bad-method", "the method is not a valid token"),
            Reject::BadTarget => ("bad-target", "the request target is not valid"),
            Reject::BadVersion => ("bad-version", "the version is neither HTTP/1.0 nor HTTP/1.1"),
            Reject::BadStatusLine => ("bad-status-line", "the first line is not a version, a status and a reason"),
            Reject::MissingHost => ("missing-host", "an HTTP/1.1 request needs a Host field"),
            Reject::DuplicateHost => ("duplicate-host", "the request has more than one Host field"),
            Reject::BadHost => ("bad-host", "the host is not a valid name or address with an optional port"),
            Reject::BadFieldName => ("bad-field-name", "a field name is not valid"),
            Reject::BadFieldValue => ("bad-field-value", "there is a control character in a field value"),
            Reject::HeadTooLarge => ("head-too-large", "the head is too long"),
            Reject::TooManyFields => ("too-many-fields", "the head has too many fields"),
            Reject::TargetTooLong => ("target-too-long", "the request target is too long"),
            Reject::BadChunkSize => ("bad-chunk-size", "a chunk size is not a plain hexadecimal number"),
            Reject::BadChunkExtension => ("bad-chunk-extension", "a chunk extension is not valid"),
            Reject::ChunkExtensionTooLong => ("chunk-extension-too-long", "a chunk extension is too long"),
            Reject::ChunkDataWithoutCrlf => ("chunk-data-without-crlf", "a chunk does not end where its size says"),
            Reject::TrailerTooLarge => ("trailer-too-large", "the trailer section is too long"),
            Reject::BadTrailer => ("bad-trailer", "the trailer section is not valid"),
            Reject::ConnectUnsupported => ("connect-unsupported", "CONNECT is not served here"),
            Reject::TraceUnsupported => ("trace-unsupported", "TRACE is not served here"),
            Reject::ExpectationUnsupported => ("expectation-unsupported", "the only expectation served here is 100-continue"),
            Reject::Truncated => ("truncated", "the connection was closed in the middle of the message"),
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe().1)
    }
}

impl std::error::Error for Reject {}
