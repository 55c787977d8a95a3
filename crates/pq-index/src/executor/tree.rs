//! Queries shared out over a tree of nodes, none of which knows more than its own place in it.

use super::{Executor, Task, search};
use crate::error::Error;
use ndarray::Axis;
use scant_tensor_core::retrieve::Hit;
use std::ops::Range;

/// A tree as SQUASH builds one (Oakley and Ferhatosmanoglu 2025): a coordinator with `branching` children, each of which has as many, down to
/// `levels` levels. A node calls its children first, then searches its own share of the queries: the coordinator waits for `levels` calls one
/// inside the other, where a loop over all nodes would wait for all.
///
/// ```
/// use scant_pq_index::executor::Tree;
/// let tree = Tree::new(4, 3)?;
/// assert_eq!(tree.nodes(), 84);
/// let first: Vec<usize> = tree.children(None).map(|node| node.id).collect();
/// assert_eq!(first, [0, 21, 42, 63]);
/// # Ok::<(), scant_pq_index::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    branching: usize,
    levels: usize,
    nodes: usize,
}

/// A node's place: all that it needs to find its children and its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number: a node comes before its children, and these with all below them one after another.
    pub id: usize,
    /// 0 for the children of the coordinator.
    pub level: usize,
}

/// Nodes at most.
const MOST: usize = 1 << 20;

impl Tree {
    /// With so many children each, on so many levels.
    ///
    /// # Errors
    /// [`Error::TreeSize`] unless both are at least 1 and there are at most 2^20 nodes.
    pub fn new(branching: usize, levels: usize) -> Result<Tree, Error> {
        let refused = || Error::TreeSize { branching, levels, most: MOST };
        if branching == 0 || levels == 0 || levels > MOST {
            return Err(refused());
        }
        let mut nodes = 0usize;
        for _ in 0..levels {
            nodes = nodes.checked_add(1).and_then(|n| n.checked_mul(branching)).filter(|n| *n <= MOST).ok_or_else(refused)?;
        }
        Ok(Tree { branching, levels, nodes })
    }

    /// Nodes, without the coordinator.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The nodes of a subtree whose root is on this level.
    fn below(&self, level: usize) -> usize {
        (level..self.levels).fold(0, |nodes, _| 1 + self.branching * nodes)
    }

    /// The children of a node; of the coordinator, for `None`.
    pub fn children(&self, node: Option<Node>) -> impl Iterator<Item = Node> + use<> {
        let (first, level) = node.map_or((0, 0), |node| (node.id + 1, node.level + 1));
        let size = self.below(level);
        (0..if level < self.levels { self.branching } else { 0 }).map(move |i| Node { id: first + i * size, level })
    }

    /// The queries that a node searches itself, of `queries`.
    pub fn share(&self, node: Node, queries: usize) -> Range<usize> {
        let at = |id: usize| (id as u128 * queries as u128 / self.nodes as u128) as usize;
        at(node.id)..at(node.id + 1)
    }

    /// What the nodes find, each a thread of this process that calls the shards' workers for its own share: that of
    /// [`search`](super::search), byte for byte.
    ///
    /// # Errors
    /// As there.
    pub fn search(&self, executor: &dyn Executor, task: &Task) -> Result<Vec<Vec<Hit>>, Error> {
        self.visit(executor, task, None)
    }

    /// The hits of a node's own share, then of those below it: their queries follow one another.
    fn visit(&self, executor: &dyn Executor, task: &Task, node: Option<Node>) -> Result<Vec<Vec<Hit>>, Error> {
        std::thread::scope(|scope| {
            let calls: Vec<_> = self.children(node).map(|child| scope.spawn(move || self.visit(executor, task, Some(child)))).collect();
            let share = node.map_or(0..0, |node| self.share(node, task.queries.nrows()));
            let mut hits = if share.is_empty() {
                Ok(vec![])
            } else {
                search(executor, &Task { queries: task.queries.slice_axis(Axis(0), share.into()).to_owned(), ..task.clone() })
            };
            for call in calls {
                let below = call.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                hits = hits.and_then(|mut hits| {
                    hits.extend(below?);
                    Ok(hits)
                });
            }
            hits
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_has_one_node() {
        for (branching, levels) in [(1, 1), (1, 5), (4, 2), (4, 3), (7, 1), (2, 6)] {
            let tree = Tree::new(branching, levels).unwrap();
            let (mut seen, mut open) = (vec![], tree.children(None).collect::<Vec<_>>());
            while let Some(node) = open.pop() {
                seen.push(node.id);
                open.extend(tree.children(Some(node)));
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..tree.nodes()).collect::<Vec<_>>());
            for queries in [0, 1, 9, 20, 1000] {
                let shares = seen.iter().flat_map(|id| tree.share(Node { id: *id, level: 0 }, queries));
                assert_eq!(shares.collect::<Vec<_>>(), (0..queries).collect::<Vec<_>>());
            }
        }
        for (branching, levels) in [(0, 3), (3, 0), (usize::MAX, 2), (1, usize::MAX), (2, 21)] {
            assert!(matches!(Tree::new(branching, levels), Err(Error::TreeSize { .. })), "{branching} {levels}");
        }
    }
}
