//! A page on its way to its user while a notice or a message stands: it is given the script that shows
//! them.

use super::{Attempts, Exchange};
use crate::forward::{Failure, UploadState};
use crate::inject::{self, Admitted, Insertion, Look, Ours, Outcome, Untouched};
use crate::pages::field;
use crate::relay::Half;
use crate::upstream::Upstream;
use ebbtide_protocol::http1::Framing;

/// Fields that are added to a head.
type Fields = &'static [(&'static str, &'static [u8])];

/// Whether and how this exchange's answer is changed.
#[derive(Default)]
pub(super) struct Rewriting {
    /// A notice or a message stands, and the request was for a page.
    pub asked: bool,
    /// The answer is a page that is changed so.
    edit: PageEdit,
}

impl Rewriting {
    /// Whether the answer does not go out as it comes in.
    pub fn is_changed(&self) -> bool {
        self.edit.insertion.is_some()
    }
}

/// What is done to a page; by default nothing.
#[derive(Default)]
pub(super) struct PageEdit {
    pub insertion: Option<Box<Insertion>>,
    /// Its head is that of a changed page.
    is_changed: bool,
    policies: Vec<String>,
}

impl PageEdit {
    /// The fields that are added to the page's head.
    pub fn fields(&self) -> Vec<(&str, &[u8])> {
        let policies = self.policies.iter();
        let mut fields: Vec<(&str, &[u8])> = policies
            .map(|policy| ("Content-Security-Policy", policy.as_bytes()))
            .collect();
        if self.is_changed {
            fields.push(("Cache-Control", b"no-store"));
        }
        fields
    }
}

impl Exchange<'_> {
    /// Has the server asked for the whole page, if it is one that is to be changed; what is added to
    /// the request.
    pub(super) fn ask_for_page(&mut self) -> Fields {
        let pool = &self.routes.pool;
        // Who comes through a door has no session that could end.
        let is_told = self.placed.as_ref().is_some_and(|placed| {
            pool.servers[placed.index].notice.is_some() || placed.session.has_message()
        });
        if !is_told || !pool.config.notice.inject {
            self.page.asked = false;
            return &[];
        }
        let (buf, head) = (self.scratch.inbound.held(), &mut self.scratch.request);
        self.page.asked = inject::is_navigation(buf, head);
        match self.page.asked {
            true => {
                inject::ask_for_all(buf, head);
                inject::IDENTITY
            }
            false => &[],
        }
    }

    /// Decides on an answer, once its head is there, and waits for its first bytes if they count.
    pub(super) async fn examine_page(
        &mut self,
        upstream: &mut Upstream,
        attempts: &mut Attempts,
    ) -> Result<(), Failure> {
        let (buf, head) = (self.scratch.outbound.filled(), &self.scratch.response);
        let is_head = self.request.is_head;
        let encoding = match inject::judge_head(buf, head, is_head) {
            None => return Ok(()),
            Some(Err(reason)) => {
                self.count_untouched(reason);
                return Ok(());
            }
            Some(Ok(encoding)) => encoding,
        };
        let Some(Admitted { policies, nonce }) = self.admit() else {
            self.count_untouched(Untouched::Policy);
            return Ok(());
        };
        let mut insertion = None;
        if !is_head {
            let mark_bytes = match self.await_look(upstream, attempts).await? {
                Look::Html { mark_bytes } => mark_bytes,
                Look::Utf16 => {
                    self.count_untouched(Untouched::Charset);
                    return Ok(());
                }
                Look::Other | Look::Unknown => {
                    self.count_untouched(Untouched::NotHtml);
                    return Ok(());
                }
            };
            let tag = inject::tag(&self.routes.pool.config.http.prefix, nonce.as_deref());
            insertion = Some(Box::new(Insertion::new(tag, encoding, mark_bytes)));
        }
        self.page.edit = PageEdit {
            insertion,
            is_changed: true,
            policies,
        };
        Ok(())
    }

    /// The page's policies, so that they admit the script.
    fn admit(&self) -> Option<Admitted> {
        let http = &self.routes.pool.config.http;
        let (buf, request) = (self.scratch.inbound.held(), &self.scratch.request);
        let authority = request.authority.map(|authority| authority.of(buf));
        let said = match http.forwarded_trusted {
            true => field(buf, &request.fields, b"x-forwarded-host"),
            false => None,
        };
        let host = said.or(authority).unwrap_or_default();
        let ours = Ours {
            host: std::str::from_utf8(host).unwrap_or_default(),
            prefix: &http.prefix,
        };
        let answer = (self.scratch.outbound.filled(), &self.scratch.response);
        inject::admit(inject::policies(answer.0, answer.1), ours)
    }

    /// Waits until it can be told what the body looks like.
    async fn await_look(
        &mut self,
        upstream: &mut Upstream,
        attempts: &mut Attempts,
    ) -> Result<Look, Failure> {
        let bytes_max = self.scratch.response.head_bytes + inject::SNIFF_BYTES_MAX;
        let no_upload = || Half::new(Framing::None, Framing::None);
        let upload = attempts.upload.get_or_insert_with(no_upload);
        let state = match self.body_read {
            true => UploadState::Done,
            false => UploadState::Going,
        };
        let mut forward = self.forward(upstream, upload, state);
        let outcome = forward
            .await_body(bytes_max, |filled, head| {
                inject::look_at_body(filled, head) != Look::Unknown
            })
            .await;
        self.body_read = forward.state == UploadState::Done;
        outcome?;
        let (filled, head) = (self.scratch.outbound.filled(), &self.scratch.response);
        Ok(inject::look_at_body(filled, head))
    }

    /// Takes out of the answer's head what will not hold for the page as it is changed, its length
    /// first of all.
    pub(super) fn edit_page_head(&mut self) -> PageEdit {
        let edit = std::mem::take(&mut self.page.edit);
        if edit.is_changed {
            let (buf, head) = (self.scratch.outbound.filled(), &mut self.scratch.response);
            inject::forget_the_original(buf, head);
            head.framing = Framing::Chunked;
        }
        edit
    }

    /// Counts what became of the page.
    pub(super) fn count_page(&self, download: &Half) {
        match download.outcome() {
            None | Some(Outcome::Looking) => {}
            Some(Outcome::Inserted) => {
                self.connection.pool_slot(&self.routes).injected.add(1);
            }
            Some(Outcome::Unreadable) => self.count_untouched(Untouched::Unreadable),
        }
    }

    /// Counts a page that stays as it is; a `HEAD` has none.
    fn count_untouched(&self, reason: Untouched) {
        if self.request.is_head {
            return;
        }
        let slot = self.connection.pool_slot(&self.routes);
        reason.counter(slot).add(1);
    }
}
