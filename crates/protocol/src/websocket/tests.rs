use super::*;
use proptest::prelude::*;

/// A frame of `length` bytes, written as a peer would.
fn frame(sender: Sender, opcode: u8, length: usize) -> Vec<u8> {
    let masked = match sender {
        Sender::Client => 0x80,
        Sender::Server => 0,
    };
    let mut bytes = vec![0x80 | opcode];
    match length {
        0..=125 => bytes.push(masked | length as u8),
        126..=0xffff => {
            bytes.push(masked | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(masked | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    if sender == Sender::Client {
        bytes.extend([1, 2, 3, 4]);
    }
    bytes.extend((0..length).map(|index| index as u8));
    bytes
}

fn senders() -> impl Strategy<Value = Sender> {
    prop_oneof![Just(Sender::Client), Just(Sender::Server)]
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![0..300_usize, 65_500..65_600_usize]
}

proptest! {
    /// However frames are cut into pieces, the boundaries are where the frames end, and nowhere else.
    #[test]
    fn boundaries_are_found_in_any_pieces(
        sender in senders(),
        frames in prop::collection::vec((0..=2_u8, lengths()), 1..6),
        pieces in prop::collection::vec(1..5_000_usize, 1..20),
    ) {
        let mut bytes = Vec::new();
        let mut ends = std::collections::BTreeSet::from([0]);
        for (opcode, length) in frames {
            bytes.extend(frame(sender, opcode, length));
            ends.insert(bytes.len());
        }
        let mut follower = Frames::new(sender);
        let mut at = 0;
        for size in pieces.into_iter().cycle() {
            prop_assert_eq!(follower.is_at_boundary(), ends.contains(&at));
            let next_end = *ends.range(at..).next().unwrap();
            prop_assert_eq!(follower.to_boundary(&bytes[at..]), next_end - at);
            if at == bytes.len() {
                break;
            }
            let end = (at + size).min(bytes.len());
            prop_assert_eq!(follower.to_boundary(&bytes[at..end]), next_end.min(end) - at);
            follower.pass(&bytes[at..end]);
            prop_assert!(!follower.is_lost() && !follower.is_closed());
            at = end;
        }
    }

    /// Whatever comes, in whatever pieces, ends in the same state, and is never a panic.
    #[test]
    fn any_bytes_are_followed_alike_in_any_pieces(
        sender in senders(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        size in 1..20_usize,
    ) {
        let (mut whole, mut pieces) = (Frames::new(sender), Frames::new(sender));
        whole.pass(&bytes);
        bytes.chunks(size).for_each(|piece| pieces.pass(piece));
        prop_assert_eq!(whole.is_lost(), pieces.is_lost());
        prop_assert_eq!(whole.is_at_boundary(), pieces.is_at_boundary());
        prop_assert_eq!(whole.is_closed(), pieces.is_closed());
    }

    /// A close frame is a whole frame of its sender's, and what fits of its reason is readable.
    #[test]
    fn a_written_close_frame_is_one(reason in "\\PC{0,80}", mask in any::<Option<[u8; 4]>>()) {
        let sender = match mask {
            Some(_) => Sender::Client,
            None => Sender::Server,
        };
        let mut bytes = Vec::new();
        write_close(&mut bytes, GOING_AWAY, &reason, mask);
        let mut follower = Frames::new(sender);
        follower.pass(&bytes);
        prop_assert!(follower.is_closed());
        let header = if mask.is_some() { 6 } else { 2 };
        let mask = mask.unwrap_or_default();
        let payload: Vec<u8> = bytes[header..]
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key)
            .collect();
        prop_assert_eq!(&payload[..2], [3, 0xe9]);
        let said = std::str::from_utf8(&payload[2..]).unwrap();
        prop_assert!(reason.starts_with(said) && said.len() <= REASON_BYTES_MAX);
        prop_assert!(said == reason || said.len() + 4 > REASON_BYTES_MAX);
    }
}

fn followed(sender: Sender, bytes: &[u8]) -> Frames {
    let mut frames = Frames::new(sender);
    frames.pass(bytes);
    frames
}

#[test]
fn the_example_of_the_rfc_is_written() {
    let mut bytes = Vec::new();
    write_close(&mut bytes, GOING_AWAY, "Hi", Some([0x37, 0xfa, 0x21, 0x3d]));
    let masked = [0x03 ^ 0x37, 0xe9 ^ 0xfa, b'H' ^ 0x21, b'i' ^ 0x3d];
    assert_eq!(bytes[..6], [0x88, 0x84, 0x37, 0xfa, 0x21, 0x3d]);
    assert_eq!(bytes[6..], masked);
}

#[test]
fn what_cannot_be_a_frame_loses_track() {
    for (sender, bytes) in [
        (Sender::Server, b"plain text".as_slice()),
        (Sender::Server, &[0x81, 0x81, 0, 0, 0, 0, 0]),
        (Sender::Client, &[0x81, 0x01, 0]),
        (Sender::Server, &[0x83, 0]),
        (Sender::Server, &[0x8b, 0]),
        (Sender::Server, &[0x08, 0]),
        (Sender::Server, &[0x89, 126, 0, 126]),
        (Sender::Server, &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        (Sender::Server, &[0x88, 0, 0x81]),
    ] {
        let frames = followed(sender, bytes);
        assert!(frames.is_lost() && !frames.is_at_boundary(), "{bytes:?}");
        assert_eq!(frames.to_boundary(b"more"), 0);
    }
}

#[test]
fn compressed_and_continued_frames_are_frames() {
    let continued = [0x41, 1, b'a', 0x00, 1, b'b', 0x89, 0, 0x80, 0];
    let frames = followed(Sender::Server, &continued);
    assert!(frames.is_at_boundary() && !frames.is_closed());
}

#[test]
fn a_close_frame_counts_when_it_is_whole() {
    let mut frames = followed(Sender::Server, &[0x88, 2, 3]);
    assert!(!frames.is_closed());
    frames.pass(&[0xe8]);
    assert!(frames.is_closed());
}
