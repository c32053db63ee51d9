//! Replies of servers, right and wrong.

use super::*;

const COOKIE: u64 = 42;

fn asked(agreed: &Negotiated, command: Command, flags: u16) -> ReplyReader {
    let mut reader = ReplyReader::new(agreed);
    assert!(reader.expect(Request {
        flags,
        command,
        cookie: COOKIE,
        offset: 1000,
        length: 100,
    }));
    reader
}

/// All heads in the bytes; payloads are passed over.
fn heads(reader: &mut ReplyReader, mut input: &[u8]) -> Result<Vec<ReplyHead>, ReplyFault> {
    let mut heads = Vec::new();
    loop {
        let payload = (reader.payload_rest() as usize).min(input.len());
        reader.pass(payload as u32);
        input = &input[payload..];
        match reader.read(input)? {
            (0, ReplyStep::NeedMore) => return Ok(heads),
            (bytes, ReplyStep::Head(head)) => {
                heads.push(head);
                input = &input[bytes..];
            }
            (_, ReplyStep::NeedMore) => panic!("bytes were taken and nothing was said"),
        }
    }
}

fn written(write: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    bytes
}

fn data(offset: u64, length: u32, is_last: bool) -> Vec<u8> {
    let mut bytes = written(|out| write_data_chunk_head(out, COOKIE, offset, length, is_last));
    bytes.resize(bytes.len() + length as usize, 0xee);
    bytes
}

fn hole(offset: u64, length: u32, is_last: bool) -> Vec<u8> {
    written(|out| write_hole_chunk(out, COOKIE, offset, length, is_last))
}

fn status(extents: u32, is_last: bool) -> Vec<u8> {
    let mut bytes = written(|out| write_status_chunk_head(out, COOKIE, 7, extents, is_last));
    bytes.resize(bytes.len() + 8 * extents as usize, 0);
    bytes
}

fn failed(structured_replies: bool) -> Vec<u8> {
    let error = ErrorNumber::InputOutput;
    written(|out| write_error(out, structured_replies, COOKIE, error, "worn out"))
}

fn done() -> Vec<u8> {
    written(|out| write_done_chunk(out, COOKIE))
}

/// A chunk of any kind, with this payload.
fn chunk(flags: u16, kind: u16, payload: &[u8]) -> Vec<u8> {
    let parts = [
        &0x668e_33ef_u32.to_be_bytes()[..],
        &flags.to_be_bytes(),
        &kind.to_be_bytes(),
        &COOKIE.to_be_bytes(),
        &(payload.len() as u32).to_be_bytes(),
        payload,
    ];
    parts.concat()
}

#[test]
fn simple_replies_are_read() {
    let mut reader = asked(&simple(), Command::Read, 0);
    let bytes = [written(|out| write_simple_reply(out, COOKIE)), vec![1; 100]].concat();
    let (taken, step) = reader.read(&bytes).unwrap();
    let expected = ReplyHead {
        cookie: COOKIE,
        content: Content::Data {
            offset: 1000,
            length: 100,
        },
        is_last: true,
    };
    assert_eq!(
        (taken, step),
        (SIMPLE_REPLY_BYTES, ReplyStep::Head(expected))
    );
    reader.pass(30);
    assert_eq!(reader.under_way(), Some((COOKIE, 1030..1100)));
    assert_eq!((reader.payload_rest(), reader.outstanding().len()), (70, 1));
    assert_eq!(reader.read(&bytes), Ok((0, ReplyStep::NeedMore)));
    reader.pass(70);
    assert_eq!(reader.under_way(), None);
    assert_eq!(reader.outstanding().len(), 0);
    assert_eq!(reader.read(&bytes), Err(ReplyFault::UnknownCookie));

    let mut reader = asked(&simple(), Command::Write, 0);
    let success = written(|out| write_simple_reply(out, COOKIE));
    let head = &heads(&mut reader, &success).unwrap()[0];
    assert_eq!((&head.content, head.is_last), (&Content::Done, true));

    let mut reader = asked(&simple(), Command::Read, 0);
    let head = &heads(&mut reader, &failed(false)).unwrap()[0];
    let error = ErrorNumber::InputOutput;
    assert!(matches!(&head.content, Content::Error { error: told, .. } if *told == error));
    assert_eq!(reader.outstanding().len(), 0);
}

#[test]
fn chunks_in_any_order_are_one_reply() {
    let mut reader = asked(&structured(), Command::Read, 0);
    let parts = [
        data(1050, 10, false),
        data(1080, 20, false),
        hole(1000, 20, false),
        data(1060, 20, false),
    ];
    assert_eq!(heads(&mut reader, &parts.concat()).unwrap().len(), 4);
    let outstanding = reader.outstanding().next().unwrap();
    assert!(outstanding.missing().eq(std::iter::once(1020..1050)));
    assert_eq!(outstanding.error(), None);
    let last = heads(&mut reader, &data(1020, 30, true)).unwrap();
    let content = Content::Data {
        offset: 1020,
        length: 30,
    };
    let expected = ReplyHead {
        cookie: COOKIE,
        content,
        is_last: true,
    };
    assert_eq!(last, [expected]);
    assert_eq!(reader.outstanding().len(), 0);
}

#[test]
fn a_failed_read_may_lack_data() {
    for parts in [
        vec![failed(true)],
        vec![data(1000, 10, false), failed(true)],
        // With an offset, and then more data.
        vec![
            data(1000, 10, false),
            chunk(0, 0x8002, b"\0\0\0\x05\0\x01x\0\0\0\0\0\0\x03\xe9"),
            data(1020, 10, true),
        ],
        // Of a kind that nobody knows.
        vec![chunk(0, 0x8fff, b"\0\0\0\x63\0\x00more"), done()],
    ] {
        let mut reader = asked(&structured(), Command::Read, 0);
        let all = heads(&mut reader, &parts.concat()).unwrap();
        assert!(
            all.iter()
                .any(|head| matches!(head.content, Content::Error { .. }))
        );
        assert_eq!(reader.outstanding().len(), 0);
    }
    let mut reader = asked(&structured(), Command::Read, 0);
    let all = heads(&mut reader, &failed(true)).unwrap();
    let content = Content::Error {
        error: ErrorNumber::InputOutput,
        offset: None,
        message: "worn out".to_owned(),
    };
    assert_eq!(all[0].content, content);
}

#[test]
fn block_status_is_read() {
    let mut reader = asked(&structured(), Command::BlockStatus, 0);
    let all = heads(&mut reader, &[status(3, false), done()].concat()).unwrap();
    assert_eq!(all[0].content, Content::Status { extents: 3 });
    assert_eq!(all[1].content, Content::Done);
    assert_eq!(reader.outstanding().len(), 0);
    let mut reader = asked(&structured(), Command::BlockStatus, command_flag::REQ_ONE);
    assert!(heads(&mut reader, &status(1, true)).is_ok());
}

#[test]
#[rustfmt::skip] // one line for each case
fn reads_with_wrong_data_are_refused() {
    let whole = command_flag::DF;
    for (flags, parts, expected) in [
        (0, vec![data(999, 10, false)], ReplyFault::OutsideRequest),
        (0, vec![data(1091, 10, false)], ReplyFault::OutsideRequest),
        (0, vec![hole(1000, 101, true)], ReplyFault::OutsideRequest),
        (0, vec![hole(u64::MAX, 10, true)], ReplyFault::OutsideRequest),
        (0, vec![data(1000, 10, false), data(1009, 5, false)], ReplyFault::Overlap),
        (0, vec![data(1050, 10, false), hole(1000, 51, false)], ReplyFault::Overlap),
        (0, vec![data(1050, 10, false), hole(1055, 1, false)], ReplyFault::Overlap),
        (0, vec![data(1000, 10, false); 2], ReplyFault::Overlap),
        (0, vec![data(1000, 99, true)], ReplyFault::Incomplete),
        (0, vec![data(1001, 99, false), done()], ReplyFault::Incomplete),
        (0, vec![done()], ReplyFault::Incomplete),
        (0, vec![data(1000, 100, true), done()], ReplyFault::UnknownCookie),
        (whole, vec![data(1000, 50, false), data(1050, 50, true)], ReplyFault::Fragmented),
    ] {
        let mut reader = asked(&structured(), Command::Read, flags);
        assert_eq!(heads(&mut reader, &parts.concat()), Err(expected), "{parts:?}");
    }
}

#[test]
#[rustfmt::skip] // one line for each case
fn reads_with_malformed_replies_are_refused() {
    let simple_reply = written(|out| write_simple_reply(out, COOKIE));
    let of_another = written(|out| write_done_chunk(out, 43));
    let error_elsewhere = chunk(0, 0x8002, b"\0\0\0\x05\0\0\0\0\0\0\0\0\0\x01");
    for (bytes, expected) in [
        (chunk(0, 0, b""), ReplyFault::UnexpectedChunk),
        (chunk(0, 3, b""), ReplyFault::UnexpectedChunk),
        (status(1, true), ReplyFault::UnexpectedChunk),
        (chunk(1, 0, b"x"), ReplyFault::BadChunkLength),
        (chunk(0, 1, &[0; 8]), ReplyFault::BadChunkLength),
        (chunk(0, 2, &[0; 13]), ReplyFault::BadChunkLength),
        (hole(1000, 0, false), ReplyFault::BadChunkLength),
        (chunk(0, 0x8001, &[0; 5]), ReplyFault::BadChunkLength),
        (chunk(0, 0x8001, b"\0\0\0\x05\0\x02x"), ReplyFault::BadChunkLength),
        (chunk(0, 0x8001, &[1; 6000]), ReplyFault::BadChunkLength),
        (chunk(0, 0x8001, &[0; 6]), ReplyFault::NoError),
        (error_elsewhere, ReplyFault::OutsideRequest),
        (simple_reply, ReplyFault::SimpleReplyToRead),
        (of_another, ReplyFault::UnknownCookie),
        (b"HTTP".to_vec(), ReplyFault::BadMagic),
    ] {
        let mut reader = asked(&structured(), Command::Read, 0);
        assert_eq!(heads(&mut reader, &bytes), Err(expected), "{bytes:?}");
    }
    let mut reader = asked(&simple(), Command::Read, 0);
    assert_eq!(heads(&mut reader, &done()), Err(ReplyFault::BadMagic));
}

#[test]
fn other_commands_that_are_answered_wrongly_are_refused() {
    let other = written(|out| write_status_chunk_head(out, COOKIE, 8, 1, true));
    let one = command_flag::REQ_ONE;
    for (command, flags, parts, expected) in [
        (
            Command::Write,
            0,
            vec![data(1000, 100, true)],
            ReplyFault::UnexpectedChunk,
        ),
        (
            Command::BlockStatus,
            0,
            vec![hole(1000, 100, true)],
            ReplyFault::UnexpectedChunk,
        ),
        (
            Command::BlockStatus,
            0,
            vec![other],
            ReplyFault::UnknownContext,
        ),
        (
            Command::BlockStatus,
            0,
            vec![status(1, false); 2],
            ReplyFault::RepeatedContext,
        ),
        (
            Command::BlockStatus,
            0,
            vec![done()],
            ReplyFault::Incomplete,
        ),
        (
            Command::BlockStatus,
            one,
            vec![status(2, true)],
            ReplyFault::BadExtents,
        ),
        (
            Command::BlockStatus,
            0,
            vec![chunk(1, 5, &[0; 4])],
            ReplyFault::BadChunkLength,
        ),
        (
            Command::BlockStatus,
            0,
            vec![chunk(1, 5, &[0; 13])],
            ReplyFault::BadChunkLength,
        ),
    ] {
        let mut reader = asked(&structured(), command, flags);
        assert_eq!(
            heads(&mut reader, &parts.concat()),
            Err(expected),
            "{parts:?}"
        );
    }
}

#[test]
fn pieces_in_disorder_are_counted() {
    let mut reader = ReplyReader::new(&structured());
    assert!(reader.expect(Request {
        flags: 0,
        command: Command::Read,
        cookie: COOKIE,
        offset: 0,
        length: 4096,
    }));
    let every_second: Vec<u8> = (0..256)
        .flat_map(|index| hole(1 + 2 * index, 1, false))
        .collect();
    assert_eq!(heads(&mut reader, &every_second).unwrap().len(), 256);
    let one_more = heads(&mut reader, &hole(1000, 1, false));
    assert_eq!(one_more, Err(ReplyFault::TooManyPieces));
}

#[test]
fn a_cookie_is_used_once_at_a_time() {
    let mut reader = asked(&simple(), Command::Write, 0);
    let again = *reader.outstanding().next().unwrap().request();
    assert!(!reader.expect(again));
    heads(&mut reader, &failed(false)).unwrap();
    assert!(reader.expect(again));
    let goodbye = Request {
        command: Command::Disconnect,
        ..again
    };
    assert!(reader.expect(goodbye));
    assert_eq!(reader.outstanding().len(), 1);
}

#[test]
fn errors_that_are_not_in_the_list_are_invalid() {
    assert_eq!(ErrorNumber::from_wire(0), None);
    assert_eq!(ErrorNumber::from_wire(99), Some(ErrorNumber::Invalid));
    for number in [1, 5, 12, 22, 28, 75, 95, 108] {
        assert_eq!(ErrorNumber::from_wire(number).unwrap().to_wire(), number);
    }
}
