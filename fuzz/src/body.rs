//! Chunked bodies: it does not matter in what pieces they come, and hyper finds the same in them.

use crate::second::Server;
use crate::understood::{Ending, read_body};
use ebbtide_protocol::http1::{BodyDecoder, BodyStep, Framing, Reject};

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A chunked body, which follows the first byte; that byte says in what pieces it comes.
pub fn body(input: &[u8]) {
    let Some((first, bytes)) = input.split_first() else {
        return;
    };
    let whole = read_body(bytes, Framing::Chunked, Framing::Chunked);
    let found = match whole.ending {
        Ending::Refused(reject) => Err(reject),
        ending => Ok((whole.content.clone(), whole.taken, ending == Ending::Found)),
    };
    for sizes in [
        [1, 1],
        [usize::from(*first >> 4) + 1, usize::from(*first & 15) + 1],
    ] {
        assert_eq!(in_pieces(bytes, sizes), found, "in pieces of {sizes:?}");
    }
    if whole.ending == Ending::Found {
        let exact = in_pieces(&bytes[..whole.taken], [bytes.len(), 1]);
        assert_eq!(exact, found, "what follows the body was looked at");
    }
    sent_on_again(&whole.forwarded, whole.ending, &whole.content);
    second_reading(bytes, &whole);
}

/// What is sent on is a body with the same content, all of which is the body.
fn sent_on_again(forwarded: &[u8], ending: Ending, content: &[u8]) {
    let again = read_body(forwarded, Framing::Chunked, Framing::Chunked);
    let expected = match ending {
        Ending::Found => Ending::Found,
        _ => Ending::Waiting,
    };
    assert_eq!(again.ending, expected);
    assert_eq!(again.content, content);
    assert_eq!(again.taken, forwarded.len());
    assert_eq!(again.forwarded, forwarded, "written anew, it is another");
}

fn second_reading(bytes: &[u8], ours: &crate::understood::Body) {
    let mut server = Server::new(&[HEAD, bytes].concat());
    let end = HEAD.len() + ours.taken;
    assert_eq!(server.arrive(end - 1), 0, "hyper finds an end before we do");
    let read = server.arrive(end);
    let seen = server.seen(0).expect("hyper takes this head");
    match ours.ending {
        Ending::Found if seen.broken => {}
        Ending::Found => {
            assert_eq!(read, 1, "hyper waits for more");
            assert_eq!(seen.content, ours.content, "content");
        }
        Ending::Waiting | Ending::Refused(_) => assert_eq!(read, 0, "hyper finds an end"),
    }
}

/// The content, the bytes it took, and whether the end was found.
fn in_pieces(bytes: &[u8], sizes: [usize; 2]) -> Result<(Vec<u8>, usize, bool), Reject> {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let mut content = Vec::new();
    let (mut at, mut arrived) = (0, 0);
    let mut sizes = sizes.into_iter().cycle();
    loop {
        match decoder.decode(&bytes[at..arrived])? {
            BodyStep::Data { skip, data } => {
                content.extend_from_slice(&bytes[at + skip..at + skip + data]);
                at += skip + data;
            }
            BodyStep::Done { skip } => return Ok((content, at + skip, true)),
            BodyStep::More { skip } => {
                at += skip;
                assert_eq!(at, arrived, "more is wanted while there is more");
                if arrived == bytes.len() {
                    return Ok((content, at, decoder.is_done()));
                }
                arrived = bytes.len().min(arrived + sizes.next().unwrap_or(1));
            }
        }
    }
}
