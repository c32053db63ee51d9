//! Exporters' pages: understood alike in any pieces, and no figure is anything but one.

use ebbtide_protocol::exporter::{ExporterFault, ExporterReader, Figures};
use ebbtide_protocol::exposition::{LINE_BYTES_MAX, Selector};

/// A byte for the size of the pieces, and a page.
pub fn exporter(input: &[u8]) {
    let Some((size, page)) = input.split_first() else {
        return;
    };
    let selector = Selector::parse("jobs{state=\"run\"}").ok();
    let read = |size: usize| {
        let mut reader = ExporterReader::new(selector.clone());
        for piece in page.chunks(size) {
            reader.feed(piece);
        }
        reader.finish()
    };
    let whole = read(page.len().max(1));
    assert_eq!(read(usize::from(*size).max(1)), whole, "in pieces");
    if let Ok(figures) = &whole {
        sound(figures);
    }
    if page.is_ascii() && !page.contains(&b'\n') {
        let quoted = [b"# HELP x ", page, b"\n"].concat();
        let mut reader = ExporterReader::new(None);
        reader.feed(&quoted);
        let fault = match quoted.len() > 1 + LINE_BYTES_MAX {
            true => ExporterFault::TooLong,
            false => ExporterFault::NoSamples,
        };
        assert_eq!(reader.finish(), Err(fault), "a comment");
    }
    selectors(page);
}

fn sound(figures: &Figures) {
    let is_figure = |figure: f64| assert!(figure.is_finite() && figure >= 0.0, "{figures:?}");
    if let Some(cpu) = figures.cpu {
        is_figure(cpu.idle_s);
        assert!(cpu.all_s > 0.0 && cpu.idle_s <= cpu.all_s, "{cpu:?}");
    }
    if let Some(memory) = figures.memory {
        is_figure(memory.available);
        assert!(memory.total > 0.0 && memory.total.is_finite(), "{memory:?}");
    }
    figures.run_queue.iter().copied().for_each(is_figure);
    figures.cpu_waiting_s.iter().copied().for_each(is_figure);
    assert!(figures.value.is_none_or(f64::is_finite));
    let processor_time = [
        "node_cpu_seconds_total",
        "node_cpu",
        "windows_cpu_time_total",
    ];
    let spoilt = |metric: &&str| figures.unusable.contains(*metric);
    if processor_time.iter().any(spoilt) {
        assert_eq!(figures.cpu, None, "made of the rest");
    }
}

/// What is read as a selector is written as one that means the same.
fn selectors(text: &[u8]) {
    let text = std::str::from_utf8(text).ok();
    if let Some(selector) = text.and_then(|text| Selector::parse(text).ok()) {
        assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
    }
}
