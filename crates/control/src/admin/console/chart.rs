//! Charts, drawn as SVG. Colours come from classes: the page's policy allows no styles of their own.

use super::capacity::Capacity;
use super::history::Point;
use super::outlook::Outlook;
use super::words::percent_of;
use ebbtide_api::{ServerStatus, Timestamp};
use ebbtide_core::{Moment, Now};
use std::fmt::Write;

/// Room around the plot.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 28.0;

/// A drain: how many sessions were left, when it ends, and how it will probably go on.
pub(super) struct Drain<'a> {
    pub curve: &'a [Point],
    pub outlook: Option<&'a Outlook>,
    pub sessions: u32,
    pub deadline: Option<Moment>,
    pub now: Now,
}

struct Plane {
    width: f64,
    height: f64,
    from: f64,
    to: f64,
    most: f64,
}

impl Plane {
    fn x(&self, at: i64) -> f64 {
        let share = (at as f64 - self.from) / (self.to - self.from);
        LEFT + share.clamp(0.0, 1.0) * (self.width - LEFT - RIGHT)
    }

    fn y(&self, sessions: f64) -> f64 {
        let share = (sessions / self.most).clamp(0.0, 1.0);
        self.height - BOTTOM - share * (self.height - TOP - BOTTOM)
    }
}

impl Drain<'_> {
    /// The picture, so many units wide: one for phones and one for wide screens, as text does not
    /// shrink with it.
    pub fn svg(&self, width: u32, height: u32) -> String {
        let plane = self.plane(f64::from(width), f64::from(height));
        let mut svg = format!(
            "<svg viewBox=\"0 0 {width} {height}\" class=\"chart\" role=\"img\" aria-label=\"{}\">",
            self.summary()
        );
        self.grid(&plane, &mut svg);
        self.foretold(&plane, &mut svg);
        self.past(&plane, &mut svg);
        self.marks(&plane, &mut svg);
        svg.push_str("</svg>");
        svg
    }

    fn summary(&self) -> String {
        let first = self
            .curve
            .first()
            .map_or(self.sessions, |point| point.sessions);
        let left = self.deadline.map(|deadline| {
            let left = deadline.since(self.now.moment);
            format!(", {} to the deadline", super::words::span(left.0))
        });
        format!(
            "Sessions left over time: {first} at first, {} now{}",
            self.sessions,
            left.unwrap_or_default()
        )
    }

    fn plane(&self, width: f64, height: f64) -> Plane {
        let now = self.now.moment.0;
        let first = self.curve.first().map_or(now, |point| point.at.0);
        let course = self.outlook.and_then(|outlook| outlook.course.last());
        let end = self.deadline.map(|deadline| deadline.0).into_iter();
        let end = end.chain(course.map(|(after, _)| now.saturating_add_unsigned(after.0)));
        let last = end.chain([now, first + 10_000]).max().unwrap_or(now);
        let counts = self.curve.iter().map(|point| point.sessions);
        let most = counts.chain([self.sessions, 1]).max().unwrap_or(1);
        Plane {
            width,
            height,
            from: first as f64,
            // A little room to the right of the deadline.
            to: last as f64 + (last - first) as f64 * 0.02,
            most: f64::from(rounded_up(most)),
        }
    }

    fn grid(&self, plane: &Plane, svg: &mut String) {
        for share in [0.0, 0.5, 1.0] {
            let value = plane.most * share;
            let (y, right) = (plane.y(value), plane.width - RIGHT);
            let class = if share == 0.0 { "axis" } else { "grid" };
            let _ = write!(
                svg,
                "<path class=\"{class}\" d=\"M{LEFT} {y:.1}H{right:.1}\"/>\
                 <text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                value.round()
            );
        }
        let ticks = if plane.width < 500.0 { 3 } else { 6 };
        // Minutes that are all the same say nothing.
        let is_short = plane.to - plane.from < 600_000.0;
        let (kind, end) = if is_short { ("s", 19) } else { ("m", 16) };
        for step in 0..=ticks {
            let at = plane.from + (plane.to - plane.from) * f64::from(step) / f64::from(ticks);
            let at = at as i64;
            let wall = Timestamp(self.now.wall_at(Moment(at)).0).to_string();
            let anchor = match step {
                0 => "start",
                _ if step == ticks => "end",
                _ => "middle",
            };
            let _ = write!(
                svg,
                "<text class=\"tick {anchor}\" x=\"{:.1}\" y=\"{:.1}\" data-at=\"{wall}\" \
                 data-clock=\"{kind}\">{}</text>",
                plane.x(at),
                plane.height - 8.0,
                wall.get(11..end).unwrap_or_default()
            );
        }
    }

    fn past(&self, plane: &Plane, svg: &mut String) {
        let Some(first) = self.curve.first() else {
            return;
        };
        let now = Point {
            at: self.now.moment,
            sessions: self.sessions,
        };
        let mut line = String::new();
        let mut before = None;
        for point in self.curve.iter().chain([&now]) {
            let (x, y) = (plane.x(point.at.0), plane.y(f64::from(point.sessions)));
            // Sessions go one by one: the line has steps.
            let _ = match before {
                None => write!(line, "M{x:.1} {y:.1}"),
                Some(count) if count == point.sessions => write!(line, "H{x:.1}"),
                Some(_) => write!(line, "H{x:.1}V{y:.1}"),
            };
            before = Some(point.sessions);
        }
        let (left, right, floor) = (plane.x(first.at.0), plane.x(now.at.0), plane.y(0.0));
        let _ = write!(
            svg,
            "<path class=\"past-area\" d=\"{line}H{right:.1}V{floor:.1}H{left:.1}Z\"/>\
             <path class=\"past\" d=\"{line}\"/>"
        );
    }

    fn foretold(&self, plane: &Plane, svg: &mut String) {
        let Some(outlook) = self.outlook else {
            return;
        };
        let x = |after: &ebbtide_core::Millis| {
            plane.x(self.now.moment.0.saturating_add_unsigned(after.0))
        };
        let (mut upper, mut lower, mut likely) = (String::new(), String::new(), String::new());
        for (index, (after, left)) in outlook.course.iter().enumerate() {
            let letter = if index == 0 { 'M' } else { 'L' };
            let _ = write!(upper, "{letter}{:.1} {:.1}", x(after), plane.y(left.high));
            let _ = write!(
                likely,
                "{letter}{:.1} {:.1}",
                x(after),
                plane.y(left.likely)
            );
        }
        for (after, left) in outlook.course.iter().rev() {
            let _ = write!(lower, "L{:.1} {:.1}", x(after), plane.y(left.low));
        }
        let _ = write!(
            svg,
            "<path class=\"band\" d=\"{upper}{lower}Z\"/><path class=\"likely\" d=\"{likely}\"/>"
        );
    }

    fn marks(&self, plane: &Plane, svg: &mut String) {
        let (floor, now) = (plane.y(0.0), plane.x(self.now.moment.0));
        let y = plane.y(f64::from(self.sessions));
        let _ = write!(
            svg,
            "<path class=\"now\" d=\"M{now:.1} {TOP}V{floor:.1}\"/>\
             <circle class=\"now-dot\" cx=\"{now:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>\
             <text class=\"mark {}\" x=\"{now:.1}\" y=\"14\">now</text>",
            if now > plane.width * 0.9 {
                "end"
            } else if now < LEFT + 20.0 {
                "start"
            } else {
                "middle"
            }
        );
        let Some(deadline) = self.deadline else {
            return;
        };
        let x = plane.x(deadline.0);
        let _ = write!(
            svg,
            "<path class=\"deadline\" d=\"M{x:.1} {TOP}V{floor:.1}\"/>\
             <text class=\"mark end deadline-mark\" x=\"{:.1}\" y=\"14\">deadline</text>",
            x + 2.0
        );
    }
}

/// 1, 2, 5 and their multiples of ten: what an axis ends with.
fn rounded_up(number: u32) -> u32 {
    let mut unit = 1_u32;
    loop {
        for step in [2, 4, 6, 10] {
            if unit.saturating_mul(step) >= number {
                return unit.saturating_mul(step);
            }
        }
        match unit.checked_mul(10) {
            Some(next) => unit = next,
            None => return u32::MAX,
        }
    }
}

/// How long the bars of a pool's servers are: so many sessions are the whole width.
pub(super) fn scale(servers: &[ServerStatus]) -> u32 {
    let capacity = |server: &ServerStatus| Capacity::of(server).map(|capacity| capacity.all);
    let counts = servers.iter().map(|server| server.sessions.all());
    let limits = servers.iter().filter_map(capacity).max().unwrap_or(0);
    let room = counts.max().unwrap_or(0);
    // Of a server without a limit the bar is never full.
    let unlimited = match servers.iter().any(|server| capacity(server).is_none()) {
        true => rounded_up(room.saturating_add(room / 4).max(10)),
        false => 0,
    };
    limits.max(room).max(unlimited).max(1)
}

/// A server's bar: as long as its capacity, filled with its sessions.
pub(super) fn bar(server: &ServerStatus, scale: u32) -> String {
    let (active, idle) = (server.sessions.active, server.sessions.idle);
    let capacity = Capacity::of(server);
    let all = capacity.map_or(scale, |capacity| capacity.all);
    let length = percent_of(all.max(server.sessions.all()), scale);
    let leaving = ["held", "draining", "removed", "closing", "drill"];
    let is_leaving = leaving.contains(&server.standing.reason.as_str());
    let kind = if is_leaving { " leaving" } else { "" };
    let track = match capacity {
        Some(_) => "track",
        None => "track endless",
    };
    let (first, both) = (
        percent_of(active, scale),
        percent_of(server.sessions.all(), scale),
    );
    let mut svg = format!(
        "<svg class=\"bar\" width=\"100%\" height=\"26\" aria-hidden=\"true\">\
         <rect class=\"{track}\" width=\"{length:.2}%\" height=\"26\" rx=\"4\"/>"
    );
    for (class, x, width, count) in [
        ("active", 0.0, first, active),
        ("idle", first, both - first, idle),
    ] {
        if count > 0 {
            let width = width.max(0.4);
            let _ = write!(
                svg,
                "<rect class=\"{class}{kind}\" x=\"{x:.2}%\" width=\"{width:.2}%\" height=\"26\" \
                 rx=\"3\"/>"
            );
            if class == "idle" || is_leaving {
                let pattern = if class == "idle" { "hatch" } else { "ebbing" };
                let _ = write!(
                    svg,
                    "<rect x=\"{x:.2}%\" width=\"{width:.2}%\" height=\"26\" rx=\"3\" \
                     fill=\"url(#{pattern})\"/>"
                );
            }
        }
    }
    svg.push_str("</svg>");
    svg
}

/// A machine's load below its server's bar, with the mark of its peak load.
pub(super) fn load(percent: Option<u32>, peak: Option<u32>) -> String {
    let mut svg = "<svg class=\"load\" width=\"100%\" height=\"8\" aria-hidden=\"true\">\
                   <rect class=\"track\" y=\"2\" width=\"100%\" height=\"4\" rx=\"2\"/>"
        .to_owned();
    if let Some(percent) = percent {
        let class = match peak {
            Some(peak) if percent > peak => "over",
            _ => "under",
        };
        let _ = write!(
            svg,
            "<rect class=\"{class}\" y=\"2\" width=\"{}%\" height=\"4\" rx=\"2\"/>",
            percent.min(100)
        );
    }
    if let Some(peak) = peak {
        let x = f64::from(peak.min(100)).clamp(0.3, 99.5);
        let _ = write!(
            svg,
            "<rect class=\"peak\" x=\"{x}%\" width=\"2\" height=\"8\"/>"
        );
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_with_a_round_number() {
        let ends = [1, 3, 7, 37, 100, 101, 950, u32::MAX].map(rounded_up);
        assert_eq!(ends, [2, 4, 10, 40, 100, 200, 1000, u32::MAX]);
    }

    #[test]
    fn a_drain_is_drawn_within_its_frame() {
        let curve: Vec<Point> = (0..50_u32)
            .map(|step| Point {
                at: Moment(i64::from(step) * 2000),
                sessions: 100 - step,
            })
            .collect();
        let drain = Drain {
            curve: &curve,
            outlook: None,
            sessions: 50,
            deadline: Some(Moment(200_000)),
            now: Now {
                moment: Moment(100_000),
                ..Now::default()
            },
        };
        let svg = drain.svg(800, 280);
        assert!(
            svg.contains("100 at first, 50 now, 1m 40s to the deadline"),
            "{svg}"
        );
        assert!(svg.contains(">deadline</text>"));
        assert!(!svg.contains("NaN") && !svg.contains("style="));
        let empty = Drain {
            curve: &[],
            deadline: None,
            sessions: 0,
            ..drain
        };
        assert!(!empty.svg(380, 220).contains("NaN"));
    }
}
