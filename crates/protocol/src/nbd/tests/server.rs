//! The handshake with clients.

use super::super::message::{self, Refusal, option as number, reply as kind};
use super::*;

/// A handshake after the client's flags.
fn greeted(flags: u32) -> ServerHandshake {
    let mut out = Vec::new();
    let mut handshake = ServerHandshake::new(&mut out);
    assert_eq!(out, b"NBDMAGICIHAVEOPT\0\x03");
    let step = handshake.advance(&flags.to_be_bytes(), &mut Vec::new());
    assert_eq!(step, Ok((4, ServerStep::NeedMore)));
    handshake
}

/// What came of these bytes, which are all taken, and what was answered.
fn said(handshake: &mut ServerHandshake, input: &[u8]) -> (ServerStep, Vec<u8>) {
    let mut out = Vec::new();
    let (taken, step) = handshake.advance(input, &mut out).unwrap();
    assert_eq!(taken, input.len());
    (step, out)
}

/// What is answered without asking.
fn answered(handshake: &mut ServerHandshake, input: &[u8]) -> Vec<u8> {
    let (step, out) = said(handshake, input);
    assert_eq!(step, ServerStep::NeedMore);
    out
}

fn refused(option: u32, refusal: Refusal) -> Vec<u8> {
    reply(option, refusal.to_wire(), b"")
}

fn wish(name: &str, infos: &[u16]) -> Vec<u8> {
    let infos: Vec<u8> = infos.iter().flat_map(|info| info.to_be_bytes()).collect();
    let count = (infos.len() as u16 / 2).to_be_bytes();
    [&with_length(name), &count[..], &infos].concat()
}

fn queries(name: &str, queries: &[&str]) -> Vec<u8> {
    let count = (queries.len() as u32).to_be_bytes();
    let texts: Vec<u8> = queries.iter().flat_map(|text| with_length(text)).collect();
    [&with_length(name), &count[..], &texts].concat()
}

#[test]
fn go_tells_what_was_asked_and_begins() {
    let mut handshake = greeted(3);
    let (step, out) = said(
        &mut handshake,
        &option(number::GO, &wish("disk", &[3, 1, 9])),
    );
    let expected = ServerStep::Wants {
        export: "disk".to_owned(),
        by: WantedBy::Go,
    };
    assert_eq!((step, out), (expected, Vec::new()));
    let mut out = Vec::new();
    let negotiated = handshake.offer(&mut out, &export()).unwrap();
    assert!(!negotiated.structured_replies && negotiated.allocation_context.is_none());
    // Structured replies were not asked for, so there is nothing to keep whole.
    assert_eq!(
        negotiated.export.flags,
        export().flags & !transmission_flag::SEND_DF
    );
    let expected = [
        reply(
            number::GO,
            kind::INFO,
            &[0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 3],
        ),
        reply(number::GO, kind::INFO, b"\0\x01disk"),
        reply(
            number::GO,
            kind::INFO,
            &[0, 3, 0, 0, 0, 1, 0, 0, 16, 0, 2, 0, 0, 0],
        ),
        reply(number::GO, kind::ACK, b""),
    ];
    assert_eq!(out, expected.concat());
    // What follows are requests.
    let after = handshake.advance(&[0x25, 0x60, 0x95, 0x13], &mut out);
    assert_eq!(after, Ok((0, ServerStep::NeedMore)));
}

#[test]
fn info_is_go_without_going() {
    let mut handshake = greeted(3);
    said(&mut handshake, &option(number::INFO, &wish("", &[])));
    let mut out = Vec::new();
    assert_eq!(handshake.offer(&mut out, &export()), None);
    assert_eq!(out.len(), 20 + 12 + 20);
    let (step, _) = said(&mut handshake, &option(number::GO, &wish("", &[])));
    assert!(matches!(
        step,
        ServerStep::Wants {
            by: WantedBy::Go,
            ..
        }
    ));
}

#[test]
fn export_name_is_answered_with_and_without_zeroes() {
    for (flags, length) in [(1, 134), (3, 10), (0, 134)] {
        let mut handshake = greeted(flags);
        let (step, _) = said(&mut handshake, &option(number::EXPORT_NAME, b"disk"));
        let expected = ServerStep::Wants {
            export: "disk".to_owned(),
            by: WantedBy::ExportName,
        };
        assert_eq!(step, expected);
        let mut out = Vec::new();
        assert!(handshake.offer(&mut out, &export()).is_some());
        assert_eq!(out.len(), length);
        assert_eq!(out[..10], [0, 0, 0, 0, 4, 0, 0, 0, 1, 3]);
    }
    let mut handshake = greeted(3);
    said(&mut handshake, &option(number::EXPORT_NAME, b"other"));
    let mut out = Vec::new();
    assert!(!handshake.refuse(&mut out, Refusal::Unknown, "no such export"));
    assert!(out.is_empty());
}

#[test]
fn a_refusal_says_why_and_the_client_may_go_on() {
    let mut handshake = greeted(3);
    said(&mut handshake, &option(number::GO, &wish("other", &[])));
    let mut out = Vec::new();
    assert!(handshake.refuse(&mut out, Refusal::Unknown, "no such export"));
    let expected = reply(number::GO, Refusal::Unknown.to_wire(), b"no such export");
    assert_eq!(out, expected);
    let (step, out) = said(&mut handshake, &option(number::ABORT, b"ignored"));
    assert_eq!(step, ServerStep::Aborted);
    assert_eq!(out, reply(number::ABORT, kind::ACK, b""));
}

#[test]
fn exports_are_listed() {
    let mut handshake = greeted(3);
    let (step, _) = said(&mut handshake, &option(number::LIST, b""));
    assert_eq!(step, ServerStep::List);
    let mut out = Vec::new();
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    handshake.list(&mut out, ["a", "with\0nul", &long, "b"]);
    let expected = [
        reply(number::LIST, kind::SERVER, &with_length("a")),
        reply(number::LIST, kind::SERVER, &with_length("b")),
        reply(number::LIST, kind::ACK, b""),
    ];
    assert_eq!(out, expected.concat());
    let out = answered(&mut handshake, &option(number::LIST, b"x"));
    assert_eq!(out, refused(number::LIST, Refusal::Invalid));
}

#[test]
fn contexts_are_chosen_for_one_export() {
    let mut handshake = greeted(3);
    let set = |query| option(number::SET_META_CONTEXT, &queries("disk", &[query]));
    let out = answered(&mut handshake, &set("base:allocation"));
    assert_eq!(out, refused(number::SET_META_CONTEXT, Refusal::Invalid));
    let out = answered(&mut handshake, &option(number::STRUCTURED_REPLY, b""));
    assert_eq!(out, reply(number::STRUCTURED_REPLY, kind::ACK, b""));
    // Other namespaces, and a wildcard where none is allowed, choose nothing.
    for query in ["qemu:dirty-bitmap:b", "base:", "base:other", "no-colon"] {
        let out = answered(&mut handshake, &set(query));
        assert_eq!(
            out,
            reply(number::SET_META_CONTEXT, kind::ACK, b""),
            "{query}"
        );
    }
    let (step, _) = said(&mut handshake, &set("base:allocation"));
    let export_name = "disk".to_owned();
    assert_eq!(
        step,
        ServerStep::WantsContexts {
            export: export_name
        }
    );
    let mut out = Vec::new();
    handshake.contexts(&mut out, true);
    let expected = [
        reply(
            number::SET_META_CONTEXT,
            kind::META_CONTEXT,
            b"\0\0\0\x01base:allocation",
        ),
        reply(number::SET_META_CONTEXT, kind::ACK, b""),
    ];
    assert_eq!(out, expected.concat());
    // Another export does not have it.
    said(&mut handshake, &option(number::INFO, &wish("disk", &[])));
    handshake.offer(&mut out, &export());
    said(&mut handshake, &option(number::GO, &wish("disk", &[])));
    let negotiated = handshake.offer(&mut out, &export()).unwrap();
    assert_eq!(negotiated.allocation_context, Some(ALLOCATION_CONTEXT_ID));
    assert!(negotiated.export.has(transmission_flag::SEND_DF));
}

#[test]
fn a_choice_of_contexts_is_forgotten_with_the_next_or_for_another_export() {
    for (second, name) in [(&[0; 8][..], "disk"), (b"", "disk"), (b"none", "other")] {
        let mut handshake = greeted(3);
        said(&mut handshake, &option(number::STRUCTURED_REPLY, b""));
        let set = queries("disk", &["base:allocation"]);
        said(&mut handshake, &option(number::SET_META_CONTEXT, &set));
        handshake.contexts(&mut Vec::new(), true);
        if second != b"none" {
            answered(&mut handshake, &option(number::SET_META_CONTEXT, second));
        }
        said(&mut handshake, &option(number::GO, &wish(name, &[])));
        let negotiated = handshake.offer(&mut Vec::new(), &export()).unwrap();
        assert_eq!(negotiated.allocation_context, None);
    }
}

#[test]
fn contexts_are_listed_with_wildcards() {
    for query in [&[][..], &["base:"], &["x:y", "base:allocation"]] {
        let mut handshake = greeted(3);
        said(&mut handshake, &option(number::STRUCTURED_REPLY, b""));
        let list = option(number::LIST_META_CONTEXT, &queries("", query));
        let (step, _) = said(&mut handshake, &list);
        assert!(
            matches!(step, ServerStep::WantsContexts { .. }),
            "{query:?}"
        );
        let mut out = Vec::new();
        handshake.contexts(&mut out, true);
        let listed = reply(
            number::LIST_META_CONTEXT,
            kind::META_CONTEXT,
            b"\0\0\0\0base:allocation",
        );
        assert!(out.starts_with(&listed));
    }
}

#[test]
fn malformed_and_unknown_options_are_refused_and_the_next_is_read() {
    let bad_name = [&[0, 0, 0, 2, 0xc3, 0x28][..], &[0, 0]].concat();
    for (which, data, refusal) in [
        (number::STARTTLS, vec![], Refusal::Unsupported),
        (4, vec![1, 2, 3], Refusal::Unsupported),
        (11, vec![], Refusal::Unsupported),
        (u32::MAX, vec![0; 8000], Refusal::Unsupported),
        (u32::MAX, vec![0; 64 * 1024], Refusal::Unsupported),
        (number::GO, vec![0; 64 * 1024], Refusal::TooBig),
        (number::LIST, vec![0; 9000], Refusal::TooBig),
        (number::GO, vec![], Refusal::Invalid),
        (number::GO, with_length("x"), Refusal::Invalid),
        (
            number::GO,
            [wish("x", &[]), vec![0]].concat(),
            Refusal::Invalid,
        ),
        (
            number::GO,
            vec![0xff, 0xff, 0xff, 0xff, 0, 0],
            Refusal::Invalid,
        ),
        (
            number::GO,
            wish(&"x".repeat(NAME_BYTES_MAX + 1), &[]),
            Refusal::Invalid,
        ),
        (number::INFO, wish("a\0b", &[]), Refusal::Invalid),
        (number::INFO, bad_name, Refusal::Invalid),
        (number::STRUCTURED_REPLY, vec![0], Refusal::Invalid),
    ] {
        let mut handshake = greeted(1);
        let two = [option(which, &data), option(number::LIST, b"")].concat();
        let (step, out) = said(&mut handshake, &two);
        assert_eq!(step, ServerStep::List, "{which} {data:?}");
        assert_eq!(out, refused(which, refusal), "{which} {data:?}");
    }
}

#[test]
fn what_cannot_go_on_ends() {
    let mut handshake = ServerHandshake::new(&mut Vec::new());
    let fault = handshake.advance(&[0, 0, 0, 4], &mut Vec::new());
    assert_eq!(fault, Err(HandshakeFault::UnknownClientFlags));
    let too_long = [b"IHAVEOPT", &[0, 0, 0, 99, 0xff, 0xff, 0xff, 0xff][..]].concat();
    for (bytes, expected) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), HandshakeFault::BadMagic),
        (too_long, HandshakeFault::TooLong),
        (
            option(number::EXPORT_NAME, &[0xff]),
            HandshakeFault::BadName,
        ),
        (
            option(number::EXPORT_NAME, &[b'x'; 4097]),
            HandshakeFault::BadName,
        ),
        (
            option(number::EXPORT_NAME, &[b'x'; 9000]),
            HandshakeFault::BadName,
        ),
    ] {
        let fault = greeted(3).advance(&bytes, &mut Vec::new());
        assert_eq!(fault, Err(expected));
    }
    let flood = option(99, b"").repeat(10_001);
    let fault = greeted(3).advance(&flood, &mut Vec::new());
    assert_eq!(fault, Err(HandshakeFault::TooMany));
}

#[test]
fn nothing_is_read_before_the_answer() {
    let mut handshake = greeted(3);
    let list = option(number::LIST, b"");
    let mut out = Vec::new();
    let two = list.repeat(2);
    assert_eq!(
        handshake.advance(&two, &mut out),
        Ok((16, ServerStep::List))
    );
    assert_eq!(
        handshake.advance(&list, &mut out),
        Ok((0, ServerStep::NeedMore))
    );
    assert_eq!(handshake.offer(&mut out, &export()), None);
    handshake.contexts(&mut out, true);
    assert!(out.is_empty());
    handshake.list(&mut out, []);
    assert_eq!(
        handshake.advance(&list, &mut out),
        Ok((16, ServerStep::List))
    );
    let longest = message::OPTION_HEAD_BYTES + message::DATA_BYTES_MAX;
    assert!(longest <= HANDSHAKE_BYTES_MAX);
}
