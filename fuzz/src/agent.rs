//! Agents' lines: understood alike in any pieces, and what comes after the line or after `#` changes
//! nothing.

use ebbtide_protocol::agent::{
    AGENT_LINE_BYTES_MAX, AgentFault, AgentLine, AgentWeight, AgentWish, read_agent_line,
};

/// What an agent says.
pub fn agent(input: &[u8]) {
    let whole = read_agent_line(input, true);
    let whole = whole.unwrap_or_else(|| panic!("no more will come"));
    // The first answer in pieces is the answer.
    let in_pieces = (0..=input.len()).find_map(|end| read_agent_line(&input[..end], false));
    match &whole {
        Err(AgentFault::Silent | AgentFault::Unfinished) => assert_eq!(in_pieces, None),
        other => assert_eq!(in_pieces.as_ref(), Some(other)),
    }
    let end = input.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let Some(line) = end
        .map(|end| &input[..end])
        .filter(|line| line.len() < AGENT_LINE_BYTES_MAX)
    else {
        assert!(whole.is_err(), "without an end it has no effect");
        return;
    };
    if let Ok(said) = &whole {
        let remark = said.remark.as_deref().unwrap_or("x");
        assert!(!remark.is_empty() && remark.chars().count() <= 200);
        assert!(!remark.contains(char::is_control), "{remark:?}");
    }
    last_word_counts(line, &whole);
    let remark = [b"drain #".as_slice(), line, b"\n"].concat();
    if remark.len() <= AGENT_LINE_BYTES_MAX {
        let said = read_agent_line(&remark, true).and_then(Result::ok);
        let said = said.unwrap_or_else(|| panic!("drain is a word"));
        let expected = AgentLine {
            wish: Some(AgentWish::Drain),
            remark: said.remark.clone(),
            ..AgentLine::default()
        };
        assert_eq!(said, expected, "what follows # is for people");
    }
}

/// A word at the end of a line without remarks is the one that counts.
fn last_word_counts(line: &[u8], whole: &Result<AgentLine, AgentFault>) {
    let longer = [line, b" MAINT,7%\n"].concat();
    if line.contains(&b'#') || longer.len() > AGENT_LINE_BYTES_MAX {
        return;
    }
    let said = read_agent_line(&longer, true).and_then(Result::ok);
    let said = said.unwrap_or_else(|| panic!("these are words"));
    assert_eq!(said.wish, Some(AgentWish::Maintenance));
    assert_eq!(said.weight, Some(AgentWeight::Percent(7)));
    if let Ok(before) = whole {
        assert_eq!(said.health, before.health);
        assert_eq!(said.connections_max, before.connections_max);
    }
}
