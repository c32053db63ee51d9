//! NBD, what clients send: understood alike in any pieces, and no request gets through that a server
//! could not answer.

use ebbtide_protocol::nbd::{
    Command, Export, HandshakeFault, Negotiated, PAYLOAD_BYTES_MAX, REQUEST_BYTES, Refusal,
    Request, ServerHandshake, ServerStep, WantedBy, transmission_flag,
};

/// All that came of a connection.
#[derive(Debug, Default, PartialEq)]
struct Story {
    steps: Vec<ServerStep>,
    fault: Option<HandshakeFault>,
    answered: Vec<u8>,
    agreed: Option<Negotiated>,
    requests: Vec<Request>,
    has_lost_its_place: bool,
}

/// A byte for the size of the pieces, one for what the caller answers, and what a client sends.
pub fn nbd_server(input: &[u8]) {
    let Some(([size, answers], sent)) = input.split_first_chunk::<2>() else {
        return;
    };
    let whole = follow(sent, sent.len().max(1), *answers);
    let pieces = follow(sent, usize::from(*size).max(1), *answers);
    assert_eq!(whole, pieces);
    let Some(agreed) = whole.agreed else {
        return assert!(whole.requests.is_empty());
    };
    assert!(agreed.allocation_context.is_none() || agreed.structured_replies);
    for request in &whole.requests {
        let mut bytes = Vec::new();
        request.write(&mut bytes);
        assert_eq!(Request::parse(&bytes), Ok(Some(*request)));
        if request.refusal(&agreed).is_none() && request.command != Command::Disconnect {
            let_through(request, &agreed);
        }
    }
}

fn let_through(request: &Request, agreed: &Negotiated) {
    let end = request.offset.checked_add(request.length.into());
    assert!(end.is_some_and(|end| end <= agreed.export.size));
    assert!(!request.command.is_write() || !agreed.export.has(transmission_flag::READ_ONLY));
    assert!(request.payload_bytes() <= PAYLOAD_BYTES_MAX);
    assert!(!matches!(request.command, Command::Other(_)));
    assert!(request.command != Command::BlockStatus || agreed.allocation_context.is_some());
}

fn follow(sent: &[u8], size: usize, answers: u8) -> Story {
    let mut story = Story::default();
    let mut handshake = ServerHandshake::new(&mut story.answered);
    let mut held = Vec::new();
    for piece in sent.chunks(size) {
        held.extend_from_slice(piece);
        if story.agreed.is_none() && !shake(&mut handshake, &mut held, answers, &mut story) {
            return story;
        }
        if story.agreed.is_some() && !requests(&mut held, &mut story) {
            return story;
        }
    }
    story
}

/// False at the end of the connection.
fn shake(
    handshake: &mut ServerHandshake,
    held: &mut Vec<u8>,
    answers: u8,
    story: &mut Story,
) -> bool {
    loop {
        let (taken, step) = match handshake.advance(held, &mut story.answered) {
            Ok(step) => step,
            Err(fault) => {
                story.fault = Some(fault);
                return false;
            }
        };
        held.drain(..taken);
        let out = &mut story.answered;
        let mut goes_on = true;
        match &step {
            ServerStep::NeedMore => return true,
            _ if answers & 1 != 0 => {
                goes_on = handshake.refuse(out, Refusal::Unknown, "no");
                let is_blind = matches!(
                    step,
                    ServerStep::Wants {
                        by: WantedBy::ExportName,
                        ..
                    }
                );
                assert_eq!(goes_on, !is_blind);
                goes_on &= step != ServerStep::Aborted;
            }
            ServerStep::Wants { .. } => story.agreed = handshake.offer(out, &export(answers)),
            ServerStep::List => handshake.list(out, ["one", "two"]),
            ServerStep::WantsContexts { .. } => handshake.contexts(out, answers & 2 != 0),
            ServerStep::Aborted => goes_on = false,
        }
        story.steps.push(step);
        if !goes_on || story.agreed.is_some() {
            return goes_on;
        }
    }
}

fn export(answers: u8) -> Export {
    let writable = transmission_flag::KNOWN & !transmission_flag::READ_ONLY;
    Export {
        size: 1 << 20,
        flags: match answers & 4 {
            0 => transmission_flag::READ_ONLY,
            _ => writable,
        },
        block_sizes: None,
    }
}

/// False when nobody knows where the next request is.
fn requests(held: &mut Vec<u8>, story: &mut Story) -> bool {
    loop {
        match Request::parse(held) {
            Err(_) => {
                story.has_lost_its_place = true;
                return false;
            }
            Ok(None) => return true,
            Ok(Some(request)) => {
                let bytes = REQUEST_BYTES + request.payload_bytes() as usize;
                if held.len() < bytes {
                    return true;
                }
                held.drain(..bytes);
                story.requests.push(request);
            }
        }
    }
}
