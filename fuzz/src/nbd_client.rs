//! NBD, what servers send: understood alike in any pieces, and a read that ends without an error has
//! all of its bytes, each of them once.

use std::collections::BTreeMap;

use ebbtide_protocol::nbd::{
    ClientGoal, ClientHandshake, ClientStep, Command, Content, HandshakeFault, Negotiated,
    ReplyFault, ReplyHead, ReplyReader, ReplyStep, Request, command_flag,
};

/// All that came of a connection.
#[derive(Debug, Default, PartialEq)]
struct Story {
    step: Option<ClientStep>,
    fault: Option<HandshakeFault>,
    asked: Vec<u8>,
    heads: Vec<ReplyHead>,
    reply_fault: Option<ReplyFault>,
    left_over: usize,
}

/// A byte for the size of the pieces, one for what is wanted, and what a server sends.
pub fn nbd_client(input: &[u8]) {
    let Some(([size, wants], sent)) = input.split_first_chunk::<2>() else {
        return;
    };
    let goal = match wants & 3 {
        0 => ClientGoal::List,
        wants => ClientGoal::Export {
            name: "disk".to_owned(),
            structured_replies: wants & 2 != 0,
            allocation: wants & 1 != 0,
        },
    };
    let whole = follow(sent, sent.len().max(1), &goal);
    let pieces = follow(sent, usize::from(*size).max(1), &goal);
    assert_eq!(whole, pieces);
    if whole.reply_fault.is_none() {
        judge(&whole.heads);
    }
}

const START: u64 = 1000;
const LENGTH: u32 = 64;

/// What is outstanding when the transmission begins; a cookie says what it is.
fn requests(agreed: &Negotiated) -> Vec<Request> {
    let request = |cookie, command, flags| Request {
        flags,
        command,
        cookie,
        offset: START,
        length: LENGTH,
    };
    let mut requests = vec![
        request(1, Command::Read, 0),
        request(2, Command::Read, command_flag::DF),
        request(3, Command::Write, 0),
    ];
    if agreed.allocation_context.is_some() {
        requests.push(request(4, Command::BlockStatus, 0));
        requests.push(request(5, Command::BlockStatus, command_flag::REQ_ONE));
    }
    requests
}

fn follow(sent: &[u8], size: usize, goal: &ClientGoal) -> Story {
    let mut story = Story::default();
    let mut handshake = ClientHandshake::new(goal.clone());
    let mut reader: Option<ReplyReader> = None;
    let mut held = Vec::new();
    for piece in sent.chunks(size) {
        held.extend_from_slice(piece);
        if story.step.is_none() {
            match handshake.advance(&held, &mut story.asked) {
                Ok((taken, step)) => {
                    held.drain(..taken);
                    if let ClientStep::Ready(agreed) = &step {
                        let mut begun = ReplyReader::new(agreed);
                        let all = requests(agreed).into_iter();
                        assert!(all.into_iter().all(|request| begun.expect(request)));
                        reader = Some(begun);
                    }
                    story.step = (step != ClientStep::NeedMore).then_some(step);
                }
                Err(fault) => {
                    story.fault = Some(fault);
                    return story;
                }
            }
        }
        if let Some(reader) = &mut reader
            && let Err(fault) = replies(reader, &mut held, &mut story.heads)
        {
            story.reply_fault = Some(fault);
            return story;
        }
    }
    story.left_over = held.len();
    story
}

fn replies(
    reader: &mut ReplyReader,
    held: &mut Vec<u8>,
    heads: &mut Vec<ReplyHead>,
) -> Result<(), ReplyFault> {
    loop {
        let payload = held.len().min(reader.payload_rest() as usize);
        reader.pass(payload as u32);
        held.drain(..payload);
        let (taken, step) = reader.read(held)?;
        held.drain(..taken);
        match step {
            ReplyStep::NeedMore => return Ok(()),
            ReplyStep::Head(head) => heads.push(head),
        }
    }
}

/// Counts bytes one by one.
fn judge(heads: &[ReplyHead]) {
    let mut came: BTreeMap<u64, [u8; LENGTH as usize]> = BTreeMap::new();
    let (mut failed, mut status) = (Vec::new(), Vec::new());
    let mut ended = Vec::new();
    for ReplyHead {
        cookie,
        content,
        is_last,
    } in heads
    {
        assert!(
            (1..=5).contains(cookie) && !ended.contains(cookie),
            "{cookie}"
        );
        match content {
            Content::Data { offset, length } | Content::Hole { offset, length } => {
                assert!(matches!(cookie, 1 | 2), "{cookie}");
                let bytes = came.entry(*cookie).or_insert([0; LENGTH as usize]);
                for position in *offset..*offset + u64::from(*length) {
                    bytes[(position - START) as usize] += 1;
                }
            }
            Content::Status { extents } => {
                assert!(*cookie == 4 || (*cookie == 5 && *extents == 1));
                status.push(*cookie);
            }
            Content::Error { .. } => failed.push(*cookie),
            Content::Done => assert!(*is_last),
        }
        if *is_last {
            ended.push(*cookie);
        }
    }
    for bytes in came.values() {
        assert!(bytes.iter().all(|count| *count <= 1), "bytes came twice");
    }
    for cookie in ended.into_iter().filter(|cookie| !failed.contains(cookie)) {
        match cookie {
            1 | 2 => assert!(
                came[&cookie].iter().all(|count| *count == 1),
                "bytes are missing"
            ),
            4 | 5 => assert_eq!(status.iter().filter(|of| **of == cookie).count(), 1),
            _ => {}
        }
    }
}
