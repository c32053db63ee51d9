//! The rule: which copies serve new clients, and why.

use super::identity::Identity;
use super::reason::{CopyReason, Verdict};
use super::{IdentitySource, Knowledge, Mode, ResourceConfig};

/// One server's copy, on its way to a verdict.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// The server's name within the pool.
    pub server: &'a str,
    /// What is known of its copy.
    pub knowledge: &'a Knowledge,
}

/// Judges the copies of one resource, which are in the file's order. `settled`: every server has
/// been looked at once, or it has been so before; until then nobody can say which copies are the
/// most, and a lone outlier that happens to be read first must not serve.
pub(crate) fn judge(
    pool: &str,
    rule: &ResourceConfig,
    source: IdentitySource,
    settled: bool,
    copies: &[Known<'_>],
) -> Vec<Verdict> {
    if rule.mode == Mode::Maintenance {
        return copies.iter().map(|_| no(CopyReason::Maintenance)).collect();
    }
    if let Some(assigned) = rule.assigned() {
        let judged = copies.iter();
        return judged
            .map(|copy| assigned_only(pool, rule, assigned, copy))
            .collect();
    }
    if source == IdentitySource::Headers {
        let by_answer = || Verdict {
            serves: true,
            stands_in: true,
            reason: CopyReason::ByAnswer,
        };
        return copies.iter().map(|_| by_answer()).collect();
    }
    let identities: Vec<Option<&Identity>> = copies
        .iter()
        .map(|copy| rule.candidate(copy.knowledge))
        .collect();
    let leading = match settled {
        true => largest_group(&identities),
        false => Vec::new(),
    };
    let first = match settled && rule.digest.is_none() && leading.is_empty() {
        true => copies.iter().position(|copy| is_unproven(copy.knowledge)),
        false => None,
    };
    let judged = copies.iter().enumerate();
    judged
        .map(|(index, copy)| {
            if leading.contains(&index) {
                return leads(leading.len());
            }
            if first == Some(index) {
                return first_of_file(copy.knowledge);
            }
            let group = leading.iter().copied();
            no(rule.why_not(pool, copies, index, group))
        })
        .collect()
}

fn no(reason: CopyReason) -> Verdict {
    Verdict {
        serves: false,
        stands_in: false,
        reason,
    }
}

fn leads(size: usize) -> Verdict {
    Verdict {
        serves: true,
        stands_in: size > 1,
        reason: match size {
            1 => CopyReason::Alone,
            size => CopyReason::Identical { others: size - 1 },
        },
    }
}

fn first_of_file(knowledge: &Knowledge) -> Verdict {
    let percent = match knowledge {
        Knowledge::Reading { percent } => Some(*percent),
        _ => None,
    };
    Verdict {
        serves: true,
        ..no(CopyReason::FirstOfFile { percent })
    }
}

fn assigned_only(pool: &str, rule: &ResourceConfig, assigned: &str, copy: &Known<'_>) -> Verdict {
    let server = || format!("{pool}/{assigned}");
    match (copy.server == assigned, copy.knowledge) {
        (true, Knowledge::Absent) => no(CopyReason::Absent),
        // There is nothing to compare it with, so nothing needs to be known of it.
        (true, _) => Verdict {
            serves: true,
            ..no(CopyReason::Assigned)
        },
        (false, _) if rule.mode == Mode::Private => no(CopyReason::Private { server: server() }),
        (false, _) => no(CopyReason::NotBalanced { server: server() }),
    }
}

/// Something is there, but it cannot be compared (yet). It may serve as long as no copy can: the
/// first of the file always, so that clients who come back find the same one.
fn is_unproven(knowledge: &Knowledge) -> bool {
    match knowledge {
        Knowledge::Reading { .. } => true,
        Knowledge::Known(identity) => !identity.is_proven(),
        _ => false,
    }
}

/// The largest group in which every pair is identical; of several equally large ones that with the
/// first server of the file. Identity by partial knowledge is not transitive, so each that joins is
/// compared with all that are in. Every copy that is in no group yet begins one; where all copies
/// are known in the same way, as those of one source are, there is no larger group than what that
/// finds.
fn largest_group(identities: &[Option<&Identity>]) -> Vec<usize> {
    let candidates: Vec<(usize, &Identity)> = identities
        .iter()
        .enumerate()
        .filter_map(|(index, identity)| Some((index, (*identity)?)))
        .collect();
    let mut is_grouped = vec![false; identities.len()];
    let mut largest = Vec::new();
    for (first, identity) in &candidates {
        if is_grouped[*first] {
            continue;
        }
        let mut group = vec![(*first, *identity)];
        for (other, identity) in &candidates {
            let fits = |member: &(usize, &Identity)| member.1.compare(identity).is_ok();
            if other != first && group.iter().all(fits) {
                group.push((*other, identity));
            }
        }
        for (member, _) in &group {
            is_grouped[*member] = true;
        }
        if group.len() > largest.len() {
            largest = group.into_iter().map(|(index, _)| index).collect();
        }
    }
    largest.sort_unstable();
    largest
}

impl ResourceConfig {
    /// The one server that serves it, if it is to be one only.
    pub(crate) fn assigned(&self) -> Option<&str> {
        let is_alone = self.mode == Mode::Private || !self.balance;
        is_alone.then_some(self.server.as_deref()).flatten()
    }

    /// The identity of a copy that may be in the leading group.
    fn candidate<'a>(&self, knowledge: &'a Knowledge) -> Option<&'a Identity> {
        let fits = |identity: &&Identity| match self.digest {
            Some(right) => identity.digest == Some(right),
            None => identity.is_proven(),
        };
        knowledge.identity().filter(fits)
    }

    /// Why the copy at `index` does not serve, while those of `group` do.
    fn why_not(
        &self,
        pool: &str,
        copies: &[Known<'_>],
        index: usize,
        mut group: impl Iterator<Item = usize>,
    ) -> CopyReason {
        let here = match copies[index].knowledge.bar() {
            Err(reason) => return reason,
            Ok(identity) => identity,
        };
        if self.digest.is_some() && self.candidate(copies[index].knowledge).is_none() {
            let digest = here.digest.map(|digest| digest.short());
            return CopyReason::NotPinned { digest };
        }
        let differs = group.find_map(|member| {
            let other = copies[member].knowledge.identity()?;
            let difference = here.compare(other).err()?;
            let place = format!("on {pool}/{}", copies[member].server);
            Some(CopyReason::differs(here, other, difference, &place))
        });
        differs.unwrap_or(match here.is_proven() {
            true => CopyReason::Waiting,
            false => CopyReason::OnlySize,
        })
    }
}

impl Knowledge {
    /// What it is known by, or why that is not enough to be compared.
    pub(super) fn bar(&self) -> Result<&Identity, CopyReason> {
        Err(match self {
            Self::Known(identity) => return Ok(identity),
            Self::Unknown => CopyReason::Unknown,
            Self::Reading { percent } => CopyReason::Reading { percent: *percent },
            Self::Absent => CopyReason::Absent,
            Self::Unreachable { why } => CopyReason::Unreachable { why: why.clone() },
            Self::Contradicted { known, size } => CopyReason::Contradicted {
                known: known.size,
                size: *size,
            },
        })
    }
}

#[cfg(test)]
mod tests;
