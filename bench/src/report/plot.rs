//! Bar charts as SVG, readable on light and dark backgrounds.

use std::fmt::Write as _;

/// A group of bars, such as one number of messages in flight.
pub struct Group {
    pub title: String,
    pub bars: Vec<(&'static str, f64)>,
}

const WIDTH: f64 = 760.0;
/// Width of the names on the left.
const LABEL: f64 = 190.0;
/// Width of the numbers on the right.
const VALUE: f64 = 90.0;
/// Height of a bar with its margin.
const BAR: f64 = 20.0;
/// Height of a group's title with its margin.
const GROUP: f64 = 34.0;
/// Colours for light and dark backgrounds.
const STYLE: &str = "text { fill: #333 } .bar { fill: #b9b2a8 } .ours { fill: #c2410c } \
                     @media (prefers-color-scheme: dark) \
                     { text { fill: #ddd } .bar { fill: #6b655c } .ours { fill: #f0844f } }";

/// A chart of horizontal bars on one scale. Bars named `ours` have a different colour.
pub fn bars(title: &str, unit: &str, groups: &[Group], ours: &str) -> String {
    let all = groups.iter().flat_map(|group| &group.bars);
    let most = all.map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let count: usize = groups.iter().map(|group| group.bars.len()).sum();
    let height = 50.0 + GROUP * groups.len() as f64 + BAR * count as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <style>{STYLE}</style>\n\
         <text x=\"0\" y=\"16\" font-size=\"14\" font-weight=\"600\">{title}</text>\n\
         <text x=\"0\" y=\"34\">{unit}</text>\n"
    );
    let mut y = 40.0;
    for group in groups {
        y += GROUP;
        // Writing to a string does not fail.
        let _ = writeln!(
            svg,
            r#"<text x="0" y="{:.0}" font-weight="600">{}</text>"#,
            y - 8.0,
            group.title
        );
        for (name, value) in &group.bars {
            let width = (WIDTH - LABEL - VALUE) * value / most;
            let class = if *name == ours { "bar ours" } else { "bar" };
            let text = y + BAR * 0.65;
            let _ = writeln!(
                svg,
                "<text x=\"0\" y=\"{text:.0}\">{name}</text>\
                 <rect class=\"{class}\" x=\"{LABEL}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{:.0}\" rx=\"2\"/>\
                 <text x=\"{:.0}\" y=\"{text:.0}\">{}</text>",
                BAR - 5.0,
                LABEL + width + 6.0,
                short(*value),
            );
            y += BAR;
        }
    }
    svg + "</svg>\n"
}

/// A number with about three digits and a unit prefix.
pub fn short(value: f64) -> String {
    match value {
        1_000_000.0.. => format!("{:.2} M", value / 1e6),
        10_000.0.. => format!("{:.0} k", value / 1e3),
        1_000.0.. => format!("{:.1} k", value / 1e3),
        10.0.. => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}
