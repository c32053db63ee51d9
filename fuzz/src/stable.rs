//! Running the targets without libFuzzer: the corpora as they are, and mutations of them that a
//! seed determines. Finds less than libFuzzer, which sees what is covered, but runs anywhere.

use crate::Target;
use std::path::{Path, PathBuf};

/// No input gets longer.
const INPUT_BYTES_MAX: usize = 4096;
/// Changes to one input, at most.
const CHANGES_MAX: u64 = 6;

/// Inputs of a target, and the words of its dictionary.
pub struct Mutations {
    inputs: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    dice: Dice,
}

impl Mutations {
    /// Those that follow from `seed`.
    pub fn new(target: &Target, seed: u64) -> std::io::Result<Self> {
        let dictionary = folder("dictionaries").join(format!("{}.dict", target.dictionary));
        Ok(Mutations {
            inputs: corpus(target)?,
            words: words(&std::fs::read_to_string(dictionary)?),
            dice: Dice(seed),
        })
    }

    /// One more input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.inputs[self.dice.below(self.inputs.len())].clone();
        for _ in 0..=self.dice.below(CHANGES_MAX as usize) {
            self.change(&mut input);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.dice.below(input.len() + 1);
        let end = input.len().min(at + 1 + self.dice.below(16));
        match self.dice.below(7) {
            0 if at < end => input[at] ^= 1 << self.dice.below(8),
            1 if at < end => input[at] = self.dice.below(256) as u8,
            2 => drop(input.drain(at..end)),
            3 => {
                let again = input[at..end].to_vec();
                drop(input.splice(at..at, again));
            }
            4 => input.insert(at, b"\r\n \t:;,0\0\x80"[self.dice.below(10)]),
            5 if !self.words.is_empty() => {
                let word = self.words[self.dice.below(self.words.len())].clone();
                let replaced = match self.dice.below(2) {
                    0 => at..at,
                    _ => at..end,
                };
                drop(input.splice(replaced, word));
            }
            _ => {
                let other = &self.inputs[self.dice.below(self.inputs.len())];
                let from = self.dice.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
}

/// SplitMix64: small, and good enough to throw.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

/// A folder of this package.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The committed inputs of a target, in the order of their names.
pub fn corpus(target: &Target) -> std::io::Result<Vec<Vec<u8>>> {
    let entries = std::fs::read_dir(folder("corpus").join(target.name))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    paths.iter().map(std::fs::read).collect()
}

/// The words of a libFuzzer dictionary: `"text"`, with `\xNN`, `\\` and `\"`.
fn words(dictionary: &str) -> Vec<Vec<u8>> {
    let lines = dictionary.lines().filter(|line| !line.starts_with('#'));
    let quoted = lines.filter_map(|line| {
        let (_, rest) = line.split_once('"')?;
        let (text, _) = rest.rsplit_once('"')?;
        Some(text)
    });
    quoted.map(unescaped).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut word = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let hexadecimal = after
            .strip_prefix(b"x")
            .and_then(|after| after.get(..2))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, hexadecimal, after) {
            (b'\\', Some(byte), _) => {
                word.push(byte);
                rest = &after[3..];
            }
            (b'\\', None, [escaped, after @ ..]) => {
                word.push(*escaped);
                rest = after;
            }
            _ => word.push(*first),
        }
    }
    word
}
