use super::*;

fn chart(mark: Mark, lines: Vec<Line>) -> Chart {
    Chart {
        title: "a < b & c".to_owned(),
        x: Axis::names("threads", vec!["1".to_owned(), "2".to_owned()]),
        y: Axis::linear("million lookups a second"),
        mark,
        lines,
    }
}

#[test]
fn kvtrie_keeps_its_colour_and_lies_on_top() {
    let other = Line::other("LRU", vec![(0.0, 2.0), (1.0, 2.0)]);
    let own = Line::kvtrie("kvtrie", vec![(0.0, 2.0), (1.0, 2.0)]);
    for lines in [
        vec![own.clone(), other.clone()],
        vec![other.clone(), own.clone()],
    ] {
        let svg = svg("", &[chart(Mark::Curve, lines)]);
        let plot = &svg[svg.find(">million").unwrap()..];
        let (own, other) = (plot.find(KVTRIE).unwrap(), plot.find(OTHERS[0]).unwrap());
        assert!(own > other, "kvtrie is drawn last");
        assert!(plot[own..].contains("stroke-width=\"2.0\""));
        assert!(plot[other..own].contains("stroke-width=\"3.1\""));
    }
}

#[test]
fn every_tick_has_a_label_and_the_legend_stands_above_the_plot() {
    let lines = vec![
        Line::other("a name that takes much of the row", vec![(0.0, 9.0)]),
        Line::other("another name that needs the next row", vec![(1.0, 1.0)]),
    ];
    let svg = svg("a machine, 2026-11-27", &[chart(Mark::Points, lines)]);
    for text in [
        ">0<",
        ">8<",
        ">10<",
        ">1<",
        ">2<",
        ">a machine, 2026-11-27<",
    ] {
        assert!(svg.contains(text), "{text}");
    }
    assert!(svg.contains("a &lt; b &amp; c"));
    let grid = svg.lines().filter(|line| line.contains("#ddd"));
    let top = grid.filter_map(|line| line.split([' ', 'H']).nth(2)?.parse::<f64>().ok());
    assert!(top.fold(f64::MAX, f64::min) > 24.0 + 2.0 * ROW);
}

#[test]
fn bars_of_two_lines_stand_side_by_side() {
    let lines = vec![
        Line::other("without", vec![(0.0, 4.0), (1.0, 2.0)]),
        Line::kvtrie("with", vec![(0.0, 3.0), (1.0, 1.0)]),
    ];
    let svg = svg("", &[chart(Mark::Bars, lines)]);
    let bars = svg.lines().filter(|line| line.contains("Z\" fill="));
    let mut starts: Vec<f64> = bars
        .filter_map(|line| line.split(['M', ' ']).nth(2)?.parse().ok())
        .collect();
    starts.sort_by(f64::total_cmp);
    assert_eq!(starts.len(), 4);
    let apart = starts.windows(2).all(|pair| pair[1] - pair[0] > 50.0);
    assert!(apart, "{starts:?}");
}
