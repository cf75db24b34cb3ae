//! Cycles between the modules of a crate.
//!
//! The rule holds at every level of the tree: a module's own file and its children, each with all
//! that is below it, form no cycle. That excludes cycles between files, and those between folders
//! that no two files alone make (`rooms/a` uses `accounts/b`, `accounts/c` uses `rooms/d`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    edges::Edges,
    module::Crate,
    workspace::{Package, Workspace},
};

/// A graph of modules; each edge has the use that makes it: from module, to module, line.
type Graph = BTreeMap<usize, BTreeMap<usize, Use>>;

#[derive(Clone, Copy)]
pub struct Use {
    from: usize,
    to: usize,
    line: usize,
}

/// Modules that all use each other, directly or indirectly.
pub struct Knot {
    pub members: Vec<String>,
    /// The shortest cycles in it, as readable text.
    pub cycles: Vec<String>,
}

/// The knots between files alone, and those at every level of the tree of modules.
pub struct Report {
    pub files: Vec<Knot>,
    pub levels: Vec<Knot>,
}

/// The report of every crate of the package that has modules: `lib`, then each program and test.
pub fn of_package(
    workspace: &Workspace,
    package: &Package,
) -> anyhow::Result<Vec<(String, Report)>> {
    let mut reports = Vec::new();
    for target in &package.targets {
        if target.kind.iter().any(|kind| kind == "custom-build") {
            continue;
        }
        let code = Crate::read(&target.src_path, false)?;
        let name = format!("{} ({} {})", package.name, target.kind.join(","), target.name);
        reports.push((name, report(workspace, &code)));
    }
    Ok(reports)
}

/// The report of one crate.
pub fn report(workspace: &Workspace, code: &Crate) -> Report {
    let edges = code.edges();
    let files = knots(workspace, code, &by_file(&edges));
    let owners = (0..code.modules.len()).filter(|index| code.modules[*index].owner == *index);
    let levels = owners.flat_map(|module| knots(workspace, code, &at_level(code, &edges, module)));
    Report { files, levels: levels.collect() }
}

fn by_file(edges: &Edges) -> Graph {
    let mut graph = Graph::new();
    for (&(from, to), &line) in edges {
        graph.entry(from).or_default().insert(to, Use { from, to, line });
    }
    graph
}

/// The graph of a module's own file (its index) and its children (theirs).
fn at_level(code: &Crate, edges: &Edges, module: usize) -> Graph {
    let mut graph = Graph::new();
    for (&(from, to), &line) in edges {
        if let (Some(a), Some(b)) = (place(code, from, module), place(code, to, module))
            && a != b
        {
            graph.entry(a).or_default().entry(b).or_insert(Use { from, to, line });
        }
    }
    graph
}

/// `level` itself or the child of it that contains `module`.
fn place(code: &Crate, module: usize, level: usize) -> Option<usize> {
    if module == level {
        return Some(level);
    }
    let parent = code.modules[module].parent?;
    let parent = code.modules[parent].owner;
    if parent == level { Some(module) } else { place(code, parent, level) }
}

fn knots(workspace: &Workspace, code: &Crate, graph: &Graph) -> Vec<Knot> {
    let reach: BTreeMap<usize, BTreeSet<usize>> =
        graph.keys().map(|&node| (node, reachable(graph, node))).collect();
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    let mut knots = Vec::new();
    for (&node, reached) in &reach {
        if !reached.contains(&node) || seen.contains(&node) {
            continue;
        }
        let is_mutual =
            |other: &usize| reach.get(other).is_some_and(|reached| reached.contains(&node));
        let members: BTreeSet<usize> = reached.iter().copied().filter(is_mutual).collect();
        seen.extend(members.iter().copied());
        let cycles = shortest_cycles(graph, &members);
        knots.push(Knot {
            members: members.iter().map(|&member| code.modules[member].name()).collect(),
            cycles: cycles.iter().map(|cycle| describe(workspace, code, cycle)).collect(),
        });
    }
    knots
}

fn reachable(graph: &Graph, start: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = vec![start];
    while let Some(node) = open.pop() {
        for &next in graph.get(&node).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(next) {
                open.push(next);
            }
        }
    }
    found
}

/// For each edge of the knot the shortest cycle through it, without repetitions.
fn shortest_cycles(graph: &Graph, members: &BTreeSet<usize>) -> Vec<Vec<Use>> {
    let mut cycles: BTreeMap<BTreeSet<usize>, Vec<Use>> = BTreeMap::new();
    for &from in members {
        for (&to, &step) in graph.get(&from).into_iter().flatten() {
            if let Some(back) = shortest_path(graph, members, to, from) {
                let mut cycle = vec![step];
                cycle.extend(back);
                let nodes = cycle.iter().map(|step| step.from).collect();
                cycles.entry(nodes).or_insert(cycle);
            }
        }
    }
    let mut cycles: Vec<_> = cycles.into_values().collect();
    cycles.sort_by_key(Vec::len);
    cycles
}

fn shortest_path(
    graph: &Graph,
    members: &BTreeSet<usize>,
    start: usize,
    end: usize,
) -> Option<Vec<Use>> {
    let mut paths = BTreeMap::from([(start, Vec::new())]);
    let mut open = VecDeque::from([start]);
    while let Some(node) = open.pop_front() {
        if node == end {
            return paths.remove(&end);
        }
        for (&next, &step) in graph.get(&node).into_iter().flatten() {
            if members.contains(&next) && !paths.contains_key(&next) {
                let mut path = paths.get(&node).cloned().unwrap_or_default();
                path.push(step);
                paths.insert(next, path);
                open.push_back(next);
            }
        }
    }
    None
}

/// `crate::a → crate::b (src/a.rs:3), crate::b → crate::a (src/b.rs:7)`.
fn describe(workspace: &Workspace, code: &Crate, cycle: &[Use]) -> String {
    let steps = cycle.iter().map(|step| {
        let (from, to) = (&code.modules[step.from], &code.modules[step.to]);
        let file = workspace.relative(&from.file);
        format!("{} → {} ({file}:{})", from.name(), to.name(), step.line)
    });
    steps.collect::<Vec<_>>().join(", ")
}
