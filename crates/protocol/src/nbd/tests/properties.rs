//! What holds for every input.

use super::super::coverage::Coverage;
use super::*;
use proptest::prelude::*;

/// Our client and our server, with so many bytes at a time in each direction; what both hold true in
/// the end.
fn meet(goal: &ClientGoal, offered: &Export, piece: usize) -> (Negotiated, Negotiated) {
    let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
    let mut server = ServerHandshake::new(&mut to_client);
    let mut client = ClientHandshake::new(goal.clone());
    let (mut at_client, mut at_server) = (Vec::new(), Vec::new());
    let (mut of_client, mut of_server) = (None, None);
    while of_client.is_none() || of_server.is_none() {
        let sent = piece.min(to_client.len());
        at_client.extend(to_client.drain(..sent));
        let (taken, step) = client.advance(&at_client, &mut to_server).unwrap();
        at_client.drain(..taken);
        if let ClientStep::Ready(negotiated) = step {
            of_client = Some(negotiated);
        }
        let sent = piece.min(to_server.len());
        at_server.extend(to_server.drain(..sent));
        let (taken, step) = server.advance(&at_server, &mut to_client).unwrap();
        at_server.drain(..taken);
        match step {
            ServerStep::Wants { .. } => of_server = server.offer(&mut to_client, offered),
            ServerStep::WantsContexts { .. } => server.contexts(&mut to_client, true),
            _ => {}
        }
    }
    assert!(at_client.is_empty() && at_server.is_empty());
    of_client.zip(of_server).unwrap()
}

fn pieces_of(length: u64) -> impl Strategy<Value = Vec<(u64, u32)>> {
    let cuts = prop::collection::btree_set(1..length, 0..12);
    cuts.prop_map(move |cuts| {
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([length]);
        starts
            .zip(ends)
            .map(|(start, end)| (start, (end - start) as u32))
            .collect()
    })
}

proptest! {
    /// Both sides agree on what was agreed on, in whatever pieces they hear it.
    #[test]
    fn both_sides_agree(
        name in "\\PC{0,20}",
        structured_replies: bool,
        allocation: bool,
        size: u64,
        flags: u16,
        piece in 1..200_usize,
    ) {
        let goal = ClientGoal::Export { name, structured_replies, allocation };
        let offered = Export { size, flags, ..export() };
        let (client, server) = meet(&goal, &offered, piece);
        prop_assert_eq!(client, server);
        prop_assert_eq!(client.export.size, size);
        prop_assert_eq!(client.structured_replies, structured_replies);
        prop_assert_eq!(client.allocation_context.is_some(), structured_replies && allocation);
        prop_assert_eq!(client.export.flags & !transmission_flag::KNOWN, 0);
    }

    #[test]
    fn requests_survive_the_wire(flags: u16, command: u16, cookie: u64, offset: u64, length: u32) {
        let parts = [
            &0x2560_9513_u32.to_be_bytes()[..],
            &flags.to_be_bytes(),
            &command.to_be_bytes(),
            &cookie.to_be_bytes(),
            &offset.to_be_bytes(),
            &length.to_be_bytes(),
        ];
        let bytes = parts.concat();
        let request = Request::parse(&bytes).unwrap().unwrap();
        let mut again = Vec::new();
        request.write(&mut again);
        prop_assert_eq!(again, bytes);
        if request.refusal(&structured()).is_none() && request.command != Command::Disconnect {
            prop_assert!(offset.checked_add(u64::from(length)).unwrap() <= export().size);
        }
    }

    /// Against the plainest way of counting: a flag for each byte.
    #[test]
    fn coverage_counts_bytes(pieces in prop::collection::vec((0..45_u64, 1..10_u32), 0..12)) {
        let (start, end) = (5_u64, 45_u64);
        let mut coverage = Coverage::new(start, end);
        let mut plain = [false; 60];
        for (offset, length) in pieces {
            let range = offset as usize..offset as usize + length as usize;
            let expected = match plain[range.clone()].contains(&true) {
                _ if offset < start || range.end as u64 > end => Err(ReplyFault::OutsideRequest),
                true => Err(ReplyFault::Overlap),
                false => Ok(()),
            };
            prop_assert_eq!(coverage.add(offset, length), expected);
            if expected.is_ok() {
                plain[range].fill(true);
            }
            let inside = &plain[start as usize..end as usize];
            prop_assert_eq!(coverage.is_complete(), !inside.contains(&false));
            let mut missing = [false; 60];
            let mut last_end = 0;
            for gap in coverage.missing() {
                prop_assert!(gap.start < gap.end && (last_end == 0 || gap.start > last_end));
                last_end = gap.end;
                missing[gap.start as usize..gap.end as usize].fill(true);
            }
            let expected: Vec<bool> = inside.iter().map(|there| !there).collect();
            prop_assert_eq!(&missing[start as usize..end as usize], &expected[..]);
        }
    }

    /// A read that is answered in pieces, in any order, is complete with the last and not before,
    /// however the bytes come.
    #[test]
    fn any_order_is_complete_at_its_end(
        pieces in pieces_of(1000).prop_shuffle(),
        kinds in prop::collection::vec(any::<bool>(), 13),
        step in 1..400_usize,
    ) {
        let mut reader = ReplyReader::new(&structured());
        let request = Request { flags: 0, command: Command::Read, cookie: 9, offset: 500, length: 1000 };
        prop_assert!(reader.expect(request));
        let mut bytes = Vec::new();
        for (index, ((offset, length), is_hole)) in pieces.iter().zip(&kinds).enumerate() {
            let (offset, is_last) = (500 + offset, index + 1 == pieces.len());
            if *is_hole {
                write_hole_chunk(&mut bytes, 9, offset, *length, is_last);
            } else {
                write_data_chunk_head(&mut bytes, 9, offset, *length, is_last);
                bytes.resize(bytes.len() + *length as usize, 0);
            }
        }
        let (mut held, mut found) = (Vec::new(), 0);
        for piece in bytes.chunks(step) {
            prop_assert_eq!(reader.outstanding().len(), 1);
            held.extend(piece);
            loop {
                let payload = (reader.payload_rest() as usize).min(held.len());
                reader.pass(payload as u32);
                held.drain(..payload);
                let (taken, read) = reader.read(&held).unwrap();
                held.drain(..taken);
                match read {
                    ReplyStep::NeedMore => break,
                    ReplyStep::Head(head) => {
                        found += 1;
                        prop_assert_eq!(head.is_last, found == pieces.len());
                    }
                }
            }
        }
        prop_assert_eq!(reader.outstanding().len(), 0);
        prop_assert_eq!(found, pieces.len());
    }
}
