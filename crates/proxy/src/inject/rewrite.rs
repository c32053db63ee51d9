//! Finding the place for our script in a page that comes in pieces, and putting it there.
//!
//! lol_html reads the beginning of the page and says where its tags are; it writes nothing. All that
//! has come is held back until the place is known, which is at the first tag of nearly every page;
//! from then on the page passes as it comes. What goes out is therefore what came in, with one
//! insertion, whatever the page is like.

use super::sniff::is_blank;
use lol_html::html_content::{Comment, Doctype, Element, SourceLocation, TextChunk};
use lol_html::{
    AsciiCompatibleEncoding, DocumentContentHandlers, ElementContentHandlers, HandlerResult,
    HtmlRewriter, MemorySettings, Selector, Settings,
};
use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::LazyLock;

/// How much of a page is held back at most while the place is looked for, in bytes. Only comments,
/// white space and the attributes of the first tags come before it.
const HELD_BYTES_MAX: usize = 64 * 1024;
/// What lol_html may use, in bytes: its copy of a tag that has not come whole, twice over while that
/// grows, and its lists.
const READER_BYTES_MAX: usize = 4 * HELD_BYTES_MAX;

type Reader = HtmlRewriter<'static, fn(&[u8])>;

/// What became of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The place has not come yet.
    Looking,
    /// The script is in.
    Inserted,
    /// There is no place for it, or it was not found in time: the page is as it came.
    Unreadable,
}

/// What is passed on, in pieces that follow each other.
pub type Released<'a> = [&'a [u8]; 4];

/// The script on its way into one page.
pub struct Insertion {
    /// What is inserted.
    tag: Vec<u8>,
    /// What has come of the page.
    held: Vec<u8>,
    /// Bytes of a byte order mark before the page.
    mark_bytes: usize,
    search: Search,
    reader: Option<Reader>,
    outcome: Outcome,
}

impl Insertion {
    /// For a page that begins, after `mark_bytes`, in this encoding.
    pub fn new(tag: Vec<u8>, encoding: AsciiCompatibleEncoding, mark_bytes: usize) -> Self {
        let search = Search::default();
        Self {
            tag,
            held: Vec::new(),
            mark_bytes,
            reader: reader(&search, encoding),
            search,
            outcome: Outcome::Looking,
        }
    }

    /// What became of it so far.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Takes the next piece of the page. What is passed on now, in order: everything that was held
    /// back and this piece, with the script, once its place has come, or without, once it is clear
    /// that it will not. Before that, nothing, and the piece is held back.
    pub fn take<'a>(&'a mut self, piece: &'a [u8]) -> Option<Released<'a>> {
        let of_mark = self.mark_bytes.saturating_sub(self.held.len());
        let new = piece.get(of_mark..).unwrap_or_default();
        let reader = self.reader.as_mut();
        let went_on = reader.is_some_and(|reader| reader.write(new).is_ok());
        let place = self.search.0.get().place;
        if place.is_none() && went_on && self.held.len() + piece.len() <= HELD_BYTES_MAX {
            self.held.extend_from_slice(piece);
            return None;
        }
        Some(self.release(place, piece))
    }

    /// The page is at its end: what is still held back, with the script.
    pub fn end(&mut self) -> Released<'_> {
        let ended = self
            .reader
            .take()
            .is_some_and(|reader| reader.end().is_ok());
        let found = self.search.0.get();
        // Nothing but comments: behind them.
        let place = found
            .place
            .or_else(|| ended.then_some(Place::At(found.floor)));
        self.release(place, &[])
    }

    fn release<'a>(&'a mut self, place: Option<Place>, piece: &'a [u8]) -> Released<'a> {
        self.reader = None;
        let (held, tag) = (self.held.as_slice(), self.tag.as_slice());
        let at = match place {
            Some(Place::At(at)) => self.mark_bytes + at,
            _ => usize::MAX,
        };
        let split = held.split_at_checked(at);
        let split_piece = piece.split_at_checked(at.saturating_sub(held.len()));
        self.outcome = match split.is_some() || split_piece.is_some() {
            true => Outcome::Inserted,
            false => Outcome::Unreadable,
        };
        match (split, split_piece) {
            (Some((before, after)), _) => [before, tag, after, piece],
            (None, Some((before, after))) => [held, before, tag, after],
            (None, None) => [held, piece, &[], &[]],
        }
    }
}

/// Every tag. Read once, as that takes as long as the rest of it.
static EVERY: LazyLock<Option<Selector>> = LazyLock::new(|| "*".parse().ok());

/// A reader that notes in `search` what it finds, and fails when it has found the place.
fn reader(search: &Search, encoding: AsciiCompatibleEncoding) -> Option<Reader> {
    let [doctypes, comments, texts, tags] = [(); 4].map(|()| search.clone());
    let document = DocumentContentHandlers::default()
        .doctype(move |met: &mut Doctype<'_>| doctypes.pass(&met.source_location(), false))
        .comments(move |met: &mut Comment<'_>| {
            comments.pass(&met.source_location(), met.text().starts_with("?xml"))
        })
        .text(
            move |met: &mut TextChunk<'_>| match met.as_str().bytes().all(is_blank) {
                true => Ok(()),
                // Ahead of the white space before it too, as far as nothing else lies there.
                false => texts.stop(texts.0.get().floor),
            },
        );
    let element = ElementContentHandlers::default().element(move |met: &mut Element<'_, '_>| {
        let at = met.source_location();
        match met.tag_name().as_str() {
            "html" => tags.enter(&at),
            "head" => tags.stop(at.bytes().end),
            // It opens the head, or the body, by itself.
            _ => tags.stop(at.bytes().start),
        }
    });
    let memory = MemorySettings::new()
        .with_preallocated_parsing_buffer_size(0)
        .with_max_allowed_memory_usage(READER_BYTES_MAX);
    let every = EVERY.as_ref()?;
    let settings = Settings::new()
        .with_encoding(encoding)
        .with_memory_settings(memory)
        .with_strict(false)
        .with_adjust_charset_on_meta_tag(false)
        .append_document_content_handler(document)
        .append_element_content_handler((Cow::Borrowed(every), element));
    Some(HtmlRewriter::new(settings, |_: &[u8]| {}))
}

/// What the reader's handlers share.
#[derive(Clone, Default)]
struct Search(Rc<Cell<Found>>);

/// What is known of the place.
#[derive(Clone, Copy, Default)]
struct Found {
    /// Behind what must come first: the doctype, comments, the tag `<html>`. From the page's start.
    floor: usize,
    /// It began as XML, and its first tag was not `<html>` so far.
    is_xml: bool,
    place: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// So many bytes from the page's start.
    At(usize),
    /// It is XML, and not HTML.
    Nowhere,
}

impl Search {
    /// Past a doctype or a comment.
    fn pass(&self, at: &SourceLocation, is_xml: bool) -> HandlerResult {
        let mut found = self.0.get();
        found.floor = at.bytes().end;
        found.is_xml |= is_xml;
        self.0.set(found);
        Ok(())
    }

    /// Past `<html>`.
    fn enter(&self, at: &SourceLocation) -> HandlerResult {
        let mut found = self.0.get();
        found.floor = at.bytes().end;
        found.is_xml = false;
        self.0.set(found);
        Ok(())
    }

    /// The place is here.
    fn stop(&self, at: usize) -> HandlerResult {
        let mut found = self.0.get();
        found.place = Some(match found.is_xml {
            true => Place::Nowhere,
            false => Place::At(at),
        });
        self.0.set(found);
        Err("the place is found".into())
    }
}

#[cfg(test)]
mod tests;
