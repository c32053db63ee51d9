//! The picture: a bar for each server under each policy.

use crate::simulation::{SIZES, Spread};
use std::fmt::Write;

const WIDTH: usize = 760;
const ROW: usize = 92;
const TOP: usize = 58;
/// Where the bars begin, beside the names of the policies.
const LEFT: usize = 190;
const BAR: usize = 46;
const STEP: usize = 55;
/// The height of a bar of a server that has just its share.
const SHARE: f64 = 30.0;
/// Colours of the servers, by their sizes.
const COLOURS: [&str; 3] = ["#3b82c4", "#5aa469", "#c9822b"];

/// Draws it as SVG.
pub fn draw(spreads: &[(&str, Spread)]) -> String {
    let height = TOP + ROW * spreads.len() + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>Sessions for the size of each server, by policy</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"15\" font-weight=\"bold\">\
         Sessions for the size of each server (the line: all alike)</text>\n"
    );
    for (size, colour) in (1..).zip(COLOURS) {
        let x = LEFT + 110 * (size - 1);
        line(
            &mut svg,
            format_args!("<rect x=\"{x}\" y=\"35\" width=\"11\" height=\"11\" fill=\"{colour}\"/>"),
        );
        line(
            &mut svg,
            format_args!("<text x=\"{}\" y=\"45\">size {size}</text>", x + 17),
        );
    }
    for (row, (policy, spread)) in spreads.iter().enumerate() {
        let base = TOP + ROW * (row + 1) - 12;
        line(
            &mut svg,
            format_args!(
                "<text x=\"16\" y=\"{}\" font-weight=\"bold\">{policy}</text>",
                base - 24
            ),
        );
        line(
            &mut svg,
            format_args!(
                "<text x=\"16\" y=\"{}\">most: {:.2} \u{d7} mean</text>",
                base - 6,
                spread.maximum_over_mean
            ),
        );
        for (index, (share, size)) in spread.shares.iter().zip(SIZES).enumerate() {
            let (x, tall) = (LEFT + STEP * index, share * SHARE);
            let colour = COLOURS[size as usize - 1];
            line(
                &mut svg,
                format_args!(
                    "<rect x=\"{x}\" y=\"{:.1}\" width=\"{BAR}\" height=\"{tall:.1}\" fill=\"{colour}\"/>",
                    base as f64 - tall
                ),
            );
        }
        let (level, right) = (base as f64 - SHARE, LEFT + STEP * SIZES.len());
        line(
            &mut svg,
            format_args!(
                "<path d=\"M{} {level}H{right}\" stroke=\"#222222\" stroke-dasharray=\"4 3\"/>",
                LEFT - 8
            ),
        );
    }
    svg + "</svg>\n"
}

fn line(svg: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(svg, "{text}").expect("a string takes what is written");
}
