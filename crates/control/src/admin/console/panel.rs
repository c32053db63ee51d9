//! A panel: what a change would do, and the form that makes it.

use super::super::answer::ApiError;
use super::desk::Desk;
use super::frame;
use super::preview::Preview;
use super::words::escape;
use crate::signin::CSRF_FIELD;
use askama::Template;
use ebbtide_core::Command;

/// What stands before a change: nothing is done until it is sent.
#[derive(Default)]
pub(super) struct Panel {
    pub what: &'static str,
    pub title: String,
    pub lead: String,
    /// Names, and values as HTML.
    pub facts: Vec<(&'static str, String)>,
    /// Somebody has changed it since the form was made.
    pub changed: Option<String>,
    /// What was sent was not done, and why.
    pub refusal: Option<String>,
    pub guard: Option<Guard>,
    pub fields: Vec<Field>,
    /// Why, as far as somebody has typed it.
    pub reason: String,
    pub hidden: Vec<(&'static str, String)>,
    pub button: String,
    /// It takes something away from somebody.
    pub is_harsh: bool,
    pub preview: Option<Preview>,
}

/// What the capacity guard says.
pub(super) struct Guard {
    pub why: String,
    pub forced: String,
}

/// A field of a form.
pub(super) struct Field {
    pub name: &'static str,
    pub label: &'static str,
    pub value: String,
    pub hint: &'static str,
    pub kind: Kind,
}

/// How a field is filled in.
pub(super) enum Kind {
    Text,
    /// A new password.
    Secret,
    Number,
    /// A time, with values to choose from.
    Span(&'static [&'static str]),
    Moment,
    Area,
    Check,
    /// One of these: values and their words.
    Choice(Vec<(&'static str, &'static str)>),
    /// The same from a list that folds up.
    Pick(Vec<(String, String)>),
}

impl Field {
    pub fn new(name: &'static str, label: &'static str, kind: Kind, value: Option<String>) -> Self {
        Self {
            name,
            label,
            value: value.unwrap_or_default(),
            hint: "",
            kind,
        }
    }

    pub fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }

    fn suggestions(&self) -> &[&'static str] {
        match &self.kind {
            Kind::Span(suggestions) => suggestions,
            _ => &[],
        }
    }

    fn choices(&self) -> &[(&'static str, &'static str)] {
        match &self.kind {
            Kind::Choice(choices) => choices,
            _ => &[],
        }
    }

    fn picks(&self) -> &[(String, String)] {
        match &self.kind {
            Kind::Pick(picks) => picks,
            _ => &[],
        }
    }

    fn is_checked(&self) -> bool {
        !self.value.is_empty()
    }

    fn input_type(&self) -> &'static str {
        match self.kind {
            Kind::Number => "number",
            Kind::Moment => "datetime-local",
            _ => "text",
        }
    }
}

#[derive(Template)]
#[template(path = "panel.html")]
struct Page<'a> {
    panel: &'a Panel,
    csrf_field: &'static str,
    csrf: &'a str,
}

impl Panel {
    /// Shows what the driver would say to the command, or why it would refuse it.
    pub async fn rehearse(&mut self, desk: &Desk, command: Command) -> Result<(), ApiError> {
        let inbox = &desk.app.inbox;
        let seen = inbox.look(move |driver, now| driver.rehearse(command, now));
        match seen.await.ok_or_else(ApiError::stopping)? {
            Ok(text) => self.facts.push(("It would be said", escape(&text))),
            Err(refusal) => self.refusal = Some(refusal.text),
        }
        Ok(())
    }

    /// `csrf`: what shows that the form was sent out by this node to this browser.
    pub fn html(&self, csrf: &str) -> Result<String, ApiError> {
        frame::written(&Page {
            panel: self,
            csrf_field: CSRF_FIELD,
            csrf,
        })
    }
}

/// What was done, where there is more to say than a sentence.
#[derive(Template)]
#[template(path = "done.html")]
pub(super) struct Done {
    pub text: String,
    /// Addresses to go to, or secrets to take along.
    pub links: Vec<String>,
    pub note: String,
}
