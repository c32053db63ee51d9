//! The handshake with servers.

use super::super::message::{Refusal, option as number, reply as kind};
use super::*;

const GREETING: &[u8] = b"NBDMAGICIHAVEOPT\0\x03";

fn goal(structured_replies: bool, allocation: bool) -> ClientGoal {
    ClientGoal::Export {
        name: "disk".to_owned(),
        structured_replies,
        allocation,
    }
}

/// What came of it when the server says all of this, whatever it is asked.
fn told(goal: ClientGoal, parts: &[Vec<u8>]) -> (Result<ClientStep, HandshakeFault>, Vec<u8>) {
    let mut handshake = ClientHandshake::new(goal);
    let mut out = Vec::new();
    let input = parts.concat();
    let step = handshake.advance(&input, &mut out);
    if let Ok((taken, _)) = &step {
        assert_eq!(*taken, input.len());
    }
    (step.map(|(_, step)| step), out)
}

fn go_replies(flags: u16) -> Vec<u8> {
    let mut of_export = vec![0, 0];
    of_export.extend((64 * MEBIBYTE).to_be_bytes());
    of_export.extend(flags.to_be_bytes());
    let parts = [
        reply(number::GO, kind::INFO, &of_export),
        reply(number::GO, kind::INFO, &[0, 99, 1, 2, 3]),
        reply(
            number::GO,
            kind::INFO,
            &[0, 3, 0, 0, 0, 1, 0, 0, 16, 0, 2, 0, 0, 0],
        ),
        reply(number::GO, kind::ACK, b""),
    ];
    parts.concat()
}

fn go_asked() -> Vec<u8> {
    option(number::GO, b"\0\0\0\x04disk\0\x01\0\x03")
}

#[test]
fn go_is_asked_and_understood() {
    let parts = [GREETING.to_vec(), go_replies(export().flags)];
    let (step, out) = told(goal(false, false), &parts);
    assert_eq!(step, Ok(ClientStep::Ready(simple())));
    assert_eq!(out, [vec![0, 0, 0, 3], go_asked()].concat());
}

#[test]
fn structured_replies_and_contexts_are_asked_for_before() {
    let parts = [
        GREETING.to_vec(),
        reply(number::STRUCTURED_REPLY, kind::ACK, b""),
        reply(
            number::SET_META_CONTEXT,
            kind::META_CONTEXT,
            b"\0\0\0\x07base:allocation",
        ),
        reply(number::SET_META_CONTEXT, kind::ACK, b""),
        go_replies(export().flags),
    ];
    let (step, out) = told(goal(true, true), &parts);
    assert_eq!(step, Ok(ClientStep::Ready(structured())));
    let query = b"\0\0\0\x04disk\0\0\0\x01\0\0\0\x0fbase:allocation";
    let asked = [
        vec![0, 0, 0, 3],
        option(number::STRUCTURED_REPLY, b""),
        option(number::SET_META_CONTEXT, query),
        go_asked(),
    ];
    assert_eq!(out, asked.concat());
}

#[test]
fn what_a_server_does_not_have_is_done_without() {
    let unsupported = Refusal::Unsupported.to_wire();
    let name_reply = [&(64 * MEBIBYTE).to_be_bytes()[..], &[0, 3]].concat();
    let old_export = Export {
        size: 64 * MEBIBYTE,
        flags: 3,
        block_sizes: None,
    };
    let old = |structured_replies| Negotiated {
        export: old_export,
        structured_replies,
        allocation_context: None,
    };
    let no_chunks = reply(number::STRUCTURED_REPLY, unsupported, b"what?");
    let no_go = reply(number::GO, unsupported, b"");
    let parts = [
        GREETING.to_vec(),
        no_chunks,
        no_go.clone(),
        name_reply.clone(),
    ];
    let (step, out) = told(goal(true, true), &parts);
    assert_eq!(step, Ok(ClientStep::Ready(old(false))));
    assert!(out.ends_with(&option(number::EXPORT_NAME, b"disk")));
    // Contexts fail half way; the zeroes come.
    let parts = [
        b"NBDMAGICIHAVEOPT\0\x01".to_vec(),
        reply(number::STRUCTURED_REPLY, kind::ACK, b""),
        reply(
            number::SET_META_CONTEXT,
            kind::META_CONTEXT,
            b"\0\0\0\x07base:allocation",
        ),
        reply(number::SET_META_CONTEXT, unsupported, b""),
        no_go,
        name_reply.clone(),
        vec![0; 124],
    ];
    let (step, _) = told(goal(true, true), &parts);
    assert_eq!(step, Ok(ClientStep::Ready(old(true))));
    // Newstyle, not fixed: there is only one option.
    let parts = [b"NBDMAGICIHAVEOPT\0\x02".to_vec(), name_reply];
    let (step, out) = told(goal(true, false), &parts);
    assert_eq!(step, Ok(ClientStep::Ready(old(false))));
    assert_eq!(
        out,
        [vec![0, 0, 0, 2], option(number::EXPORT_NAME, b"disk")].concat()
    );
}

#[test]
fn exports_are_listed_and_the_server_is_left() {
    let parts = [
        GREETING.to_vec(),
        reply(number::LIST, kind::SERVER, &with_length("a")),
        reply(number::LIST, kind::SERVER, b"\0\0\0\x01bwith a description"),
        reply(number::LIST, kind::ACK, b""),
    ];
    let (step, out) = told(ClientGoal::List, &parts);
    let names = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(step, Ok(ClientStep::Listed(names)));
    assert!(out.ends_with(&option(number::ABORT, b"")));
}

#[test]
fn refusals_end_politely_and_say_why() {
    for (refusal, reason) in [
        (Refusal::Unknown, "unknown"),
        (Refusal::TlsRequired, "tls-required"),
        (Refusal::ShuttingDown, "shutting-down"),
        (Refusal::Policy, "policy"),
    ] {
        let said = reply(number::GO, refusal.to_wire(), b"no\x1b such thing");
        let (step, out) = told(goal(false, false), &[GREETING.to_vec(), said]);
        let fault = step.unwrap_err();
        assert_eq!(fault.reason(), reason);
        assert!(fault.to_string().ends_with("(no such thing)"), "{fault}");
        assert!(out.ends_with(&option(number::ABORT, b"")));
    }
    let said = reply(
        number::STRUCTURED_REPLY,
        Refusal::TlsRequired.to_wire(),
        b"",
    );
    let (step, _) = told(goal(true, false), &[GREETING.to_vec(), said]);
    assert_eq!(step.unwrap_err().reason(), "tls-required");
}

#[test]
fn servers_that_are_wrong_are_left() {
    let go = |kind, data: &[u8]| [GREETING.to_vec(), reply(number::GO, kind, data)].concat();
    let oldstyle = [&b"NBDMAGIC\0\0\x42\x02\x81\x86\x12\x53"[..], &[0; 136]].concat();
    let mut sizes = go_replies(3);
    let at = sizes.len() - 20 - 12;
    sizes[at + 3] = 3; // a minimum that is no power of 2
    for (bytes, expected) in [
        (b"SSH-2.0-OpenSSH_9.2".to_vec(), HandshakeFault::BadMagic),
        (oldstyle, HandshakeFault::Oldstyle),
        (b"NBDMAGICnonsense\0\x03".to_vec(), HandshakeFault::BadMagic),
        ([GREETING, b"IHAVEOPT"].concat(), HandshakeFault::BadMagic),
        (
            [GREETING, &reply(number::LIST, kind::ACK, b"")].concat(),
            HandshakeFault::UnexpectedReply,
        ),
        (go(kind::SERVER, b""), HandshakeFault::UnexpectedReply),
        (go(kind::ACK, b""), HandshakeFault::UnexpectedReply),
        (go(kind::ACK, b"x"), HandshakeFault::BadReply),
        (go(kind::INFO, b"\0"), HandshakeFault::BadReply),
        (go(kind::INFO, &[0; 11]), HandshakeFault::BadReply),
        (go(kind::INFO, &[0; 13]), HandshakeFault::BadReply),
        (go(kind::INFO, &[0; 9000]), HandshakeFault::TooLong),
        (
            [GREETING, &go_replies(2)].concat(),
            HandshakeFault::BadExport,
        ),
        ([GREETING, &sizes].concat(), HandshakeFault::BadExport),
        (
            [
                GREETING,
                &reply(number::GO, kind::INFO, &[0, 99]).repeat(101),
            ]
            .concat(),
            HandshakeFault::TooMany,
        ),
    ] {
        let (step, _) = told(goal(false, false), std::slice::from_ref(&bytes));
        assert_eq!(step, Err(expected), "{}", bytes.escape_ascii());
    }
    let (step, _) = told(ClientGoal::List, &[b"NBDMAGICIHAVEOPT\0\x02".to_vec()]);
    assert_eq!(step, Err(HandshakeFault::NotFixed));
    let listed = reply(number::LIST, kind::SERVER, b"\0\0\0\x05abc");
    let (step, _) = told(ClientGoal::List, &[GREETING.to_vec(), listed]);
    assert_eq!(step, Err(HandshakeFault::BadReply));
}
