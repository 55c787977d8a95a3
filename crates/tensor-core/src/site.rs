//! Matrices that read the same input (q, k, v; gate, up), with one Pre and one prepared input.

use crate::error::Error;
use crate::file::Bytes;
use crate::isa::Isa;
use crate::linear::{Footprint, Linear, LinearOp, Term};
use crate::prepared::{Mode, Prepared, Wants};
use crate::team::Team;
use crate::transform::{Post, Pre};
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis};
use std::ops::Range;
use std::sync::Arc;

/// Compressed bytes of one task: enough to outweigh handing it out, few enough to share a small matrix.
const TASK_BYTES: usize = 32 << 10;

/// Rows of a task of the dense path: fewer leave the matrix product a third slower, as every task packs the input for itself.
const DENSE_ROWS: usize = 96;

/// How a forward pass is computed.
#[derive(Clone, Copy, Debug)]
pub struct Ctx<'a> {
    /// The tier.
    pub isa: Isa,
    /// How activations are treated.
    pub mode: Mode,
    /// Who computes.
    pub team: &'a Team,
}

/// Buffers of a forward pass, kept from one to the next so that decode does not allocate.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    prepared: Prepared,
    staged: Vec<f32>,
    /// The first stage's result of each two-stage term, as its second stage reads it.
    seconds: Vec<Prepared>,
    /// For terms of one stage.
    none: Prepared,
}

/// Above so many values the second stage treats them as the mode says; fewer cost nothing as they are.
const LONG_STAGE: usize = 64;

/// A two-stage term of a site.
#[derive(Clone, Debug)]
struct Stage {
    linear: usize,
    term: usize,
    /// Where its first stage lies among the staged values.
    values: Range<usize>,
}

/// One piece of work: rows of one matrix.
#[derive(Clone, Debug)]
struct Task {
    linear: usize,
    rows: Range<usize>,
}

/// The matrices of one input site; their outputs lie side by side.
///
/// ```
/// use ndarray::{Array2, array};
/// use scant_tensor_core::format::{Dense, DenseType};
/// use scant_tensor_core::{Ctx, Linear, Mode, Pre, Site, Workspace, isa::Isa, team::Team};
/// let w = Dense::new(array![[1.0, 2.0], [3.0, 4.0]].view(), DenseType::F32)?;
/// let site = Site::new(Pre::none(), vec![Linear::from_term(w)?])?;
/// let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &Team::new(1) };
/// let mut y = Array2::zeros((1, 2));
/// site.forward(&ctx, array![[1.0, 1.0]].view(), &mut Workspace::default(), y.view_mut())?;
/// assert_eq!(y, array![[3.0, 7.0]]);
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
///
/// # A file, and the codes in it
///
/// [`Site::save_into`] adds the tensors to a [`Writer`](crate::file::Writer) and gives a descriptor, which belongs among the file's parameters:
/// [`Site::load_from`] wants it back. A matrix is a sum of [`terms`](Linear::terms); a term that is a [`Grid`](crate::format::Grid) shows its
/// codes. All terms stand behind [`Site::pre`]: where a method has sorted the inputs (GPTQ's act-order), column `j` of the codes belongs to input
/// `order[j]`, and [`Pre::out_of_weights`] gives the weights of the inputs as they come.
///
/// ```
/// use ndarray::array;
/// use scant_tensor_core::file::{File, Writer};
/// use scant_tensor_core::format::{Grid, GridSpec, RowOffset, RowStat, SiteDescriptor};
/// use scant_tensor_core::{Linear, Pre, Site, Step, Term};
/// let scale = RowStat::F32(array![[0.5]]);
/// let grid = Grid::pack(GridSpec::new([1, 3], 4, 32)?, array![[10, 12, 14]].view(), &scale, &RowOffset::Symmetric)?;
/// let act_order = Pre::new(vec![Step::Permute([2, 0, 1].into())])?;
/// let site = Site::new(act_order, vec![Linear::from_term(grid)?])?;
///
/// let path = std::env::temp_dir().join(format!("scant-site-{}", std::process::id()));
/// let mut writer = Writer::new("example", 1);
/// let descriptor = site.save_into(&mut writer, "down", &["down_proj".to_owned()])?;
/// writer.parameters(&descriptor)?.save(&path)?;
///
/// let file = File::read(&path)?;
/// let descriptor: SiteDescriptor = file.require_kind("example", 1)?.parameters()?;
/// let site = Site::load_from(&file, "down", &descriptor)?;
///
/// let Term::Grid(grid) = &site.linears()[0].terms()[0] else { panic!("a grid was saved") };
/// assert_eq!(grid.codes(), array![[10, 12, 14]]);
/// let mut weights = grid.to_dense();
/// assert_eq!(weights, array![[1.0, 2.0, 3.0]]); // of inputs 2, 0 and 1
/// site.pre().out_of_weights(weights.view_mut())?;
/// assert_eq!(weights, array![[2.0, 3.0, 1.0]]); // of inputs 0, 1 and 2
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), scant_tensor_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Site {
    pre: Arc<Pre>,
    linears: Vec<Linear>,
    wants: Wants,
    tasks: Vec<Task>,
    /// Output columns of each task.
    cuts: Vec<Range<usize>>,
    /// The same for the dense path.
    dense_tasks: Vec<Task>,
    dense_cuts: Vec<Range<usize>>,
    /// The two-stage terms, and per piece of work on their first stages: which stage, and its columns of it.
    stages: Vec<Stage>,
    stage_tasks: Vec<(usize, Range<usize>)>,
    /// Staged values of each.
    stage_cuts: Vec<Range<usize>>,
    columns: usize,
}

impl Site {
    /// Joins layers that read the same input.
    ///
    /// # Errors
    /// [`Error::Shape`] if the layers or `pre` differ in their number of inputs; [`Error::Empty`] without layers.
    pub fn new(pre: Pre, linears: Vec<Linear>) -> Result<Site, Error> {
        let Some(first) = linears.first() else {
            return Err(Error::Empty { what: "site".to_owned(), shape: [0, 0] });
        };
        let columns = first.shape()[1];
        pre.check(columns)?;
        let (mut tasks, mut cuts) = (vec![], vec![]);
        let (mut stages, mut stage_tasks, mut stage_cuts) = (vec![], vec![], vec![]);
        let (mut dense_tasks, mut dense_cuts) = (vec![], vec![]);
        let (mut output, mut staged) = (0, 0);
        for (linear, l) in linears.iter().enumerate() {
            let [m, n] = l.shape();
            Error::check_shape("inputs of the site's matrices", &[columns], &[n])?;
            let row_bytes = (l.footprint().total() as usize / m).max(1);
            let step = (TASK_BYTES / row_bytes).max(m / 64).next_multiple_of(16).max(16);
            for (step, tasks, cuts) in [(step, &mut tasks, &mut cuts), (step.max(DENSE_ROWS), &mut dense_tasks, &mut dense_cuts)] {
                for start in (0..m).step_by(step) {
                    let rows = start..(start + step).min(m);
                    cuts.push(output + rows.start..output + rows.end);
                    tasks.push(Task { linear, rows });
                }
            }
            output += m;
            for (term, t) in l.terms.iter().enumerate().filter(|(_, t)| t.op().staged_len() > 0) {
                let len = t.op().staged_len();
                let step = (TASK_BYTES / (columns + 1)).max(len / 64).next_multiple_of(16);
                for start in (0..len).step_by(step) {
                    let part = start..(start + step).min(len);
                    stage_cuts.push(staged + part.start..staged + part.end);
                    stage_tasks.push((stages.len(), part));
                }
                stages.push(Stage { linear, term, values: staged..staged + len });
                staged += len;
            }
        }
        let wants = linears.iter().flat_map(|l| &l.terms).fold(Wants::default(), |w, t| w.union(t.op().wants()));
        Ok(Site { pre: Arc::new(pre), linears, wants, tasks, cuts, dense_tasks, dense_cuts, stages, stage_tasks, stage_cuts, columns })
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.columns
    }

    /// Number of outputs of all matrices.
    pub fn outputs(&self) -> usize {
        self.linears.iter().map(|l| l.shape()[0]).sum()
    }

    /// What the input goes through first.
    pub fn pre(&self) -> &Pre {
        &self.pre
    }

    /// The matrices.
    pub fn linears(&self) -> &[Linear] {
        &self.linears
    }

    /// Exact bytes of everything, Pre counted once.
    pub fn footprint(&self) -> Footprint {
        let linears: Footprint = self.linears.iter().map(Linear::footprint).sum();
        linears + Footprint { transforms: self.pre.steps().iter().map(|s| s.bytes()).sum(), ..Footprint::default() }
    }

    /// `y = Post(sum of terms Pre(x)) + bias` for each matrix, side by side: `x` is `[tokens, inputs]`, `y` `[tokens, outputs]`.
    ///
    /// The panel path: one token or many give the same bits, on any tier in Fast mode and any number of threads.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` or `y` has another shape.
    pub fn forward(&self, ctx: &Ctx<'_>, x: ArrayView2<'_, f32>, ws: &mut Workspace, mut y: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        if !has_rows(&y) {
            return into_rows(y, |rows| self.forward(ctx, x, ws, rows));
        }
        self.prepare(ctx, x, ws, &y)?;
        self.run_stages(ctx, ws)?;
        let ws = &*ws;
        ctx.team.split(y.view_mut(), &self.cuts, |i, mut y| {
            let task = &self.tasks[i];
            let linear = &self.linears[task.linear];
            start(linear, &task.rows, &mut y);
            self.accumulate(ws, task, &mut y);
        });
        self.finish(y);
        Ok(())
    }

    /// As [`Site::forward`], by f32 products with the matrices expanded tile by tile: the path for long inputs in [`Mode::Exact`]. Within the
    /// rounding of f32 sums of the panel path, not bit-equal to it.
    ///
    /// # Errors
    /// As there.
    pub fn forward_dense(
        &self,
        ctx: &Ctx<'_>,
        x: ArrayView2<'_, f32>,
        ws: &mut Workspace,
        mut y: ArrayViewMut2<'_, f32>,
    ) -> Result<(), Error> {
        if !has_rows(&y) {
            return into_rows(y, |rows| self.forward_dense(ctx, x, ws, rows));
        }
        self.prepare(ctx, x, ws, &y)?;
        let x = ws.prepared.values();
        ctx.team.split(y.view_mut(), &self.dense_cuts, |i, mut y| {
            let task = &self.dense_tasks[i];
            let linear = &self.linears[task.linear];
            start(linear, &task.rows, &mut y);
            if let [Term::Dense(w)] = &linear.terms[..]
                && let Some(w) = w.as_f32()
            {
                return add_product(x, w.slice_axis(Axis(0), task.rows.clone().into()), y);
            }
            let mut w = Array2::zeros((task.rows.len(), self.columns));
            linear.terms.iter().for_each(|t| t.op().add_rows(task.rows.clone(), w.view_mut()));
            add_product(x, w.view(), y);
        });
        self.finish(y);
        Ok(())
    }

    /// As [`Site::forward`], for outputs that are too many to be held: tiles of at most `rows` outputs of a matrix, `[tokens, rows]`, go to
    /// `keep` with the same columns of `kept`, which may have any number of rows. What a tile holds does not depend on its size.
    ///
    /// A layer with a [`Post`] has to be computed as a whole first.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` or `kept` has another number of columns.
    pub fn forward_tiles(
        &self,
        ctx: &Ctx<'_>,
        x: ArrayView2<'_, f32>,
        ws: &mut Workspace,
        rows: usize,
        mut kept: ArrayViewMut2<'_, f32>,
        keep: impl Fn(ArrayView2<'_, f32>, ArrayViewMut2<'_, f32>) + Sync,
    ) -> Result<(), Error> {
        Error::check_shape("what is kept of the outputs", &[kept.nrows(), self.outputs()], kept.shape())?;
        let step = rows.next_multiple_of(16).max(16);
        let (mut tasks, mut cuts, mut output) = (vec![], vec![], 0);
        for (linear, l) in self.linears.iter().enumerate() {
            let m = l.shape()[0];
            for start in (0..m).step_by(step) {
                let rows = start..(start + step).min(m);
                cuts.push(output + rows.start..output + rows.end);
                tasks.push(Task { linear, rows });
            }
            output += m;
        }
        if self.linears.iter().any(|l| l.post != Post::None) {
            let mut y = Array2::zeros((x.nrows(), self.outputs()));
            self.forward(ctx, x, ws, y.view_mut())?;
            ctx.team.split(kept.view_mut(), &cuts, |i, kept| keep(y.slice_axis(Axis(1), cuts[i].clone().into()), kept));
            return Ok(());
        }
        Error::check_shape("site input", &[x.nrows(), self.columns], x.shape())?;
        ws.prepared.fill(ctx.isa, ctx.mode, &self.pre, self.wants, x)?;
        self.run_stages(ctx, ws)?;
        let ws = &*ws;
        ctx.team.split(kept, &cuts, |i, kept| {
            let task = &tasks[i];
            let linear = &self.linears[task.linear];
            let mut y = Array2::zeros((ws.prepared.tokens(), task.rows.len()));
            start(linear, &task.rows, &mut y.view_mut());
            self.accumulate(ws, task, &mut y.view_mut());
            keep(y.view(), kept);
        });
        Ok(())
    }

    fn prepare(&self, ctx: &Ctx<'_>, x: ArrayView2<'_, f32>, ws: &mut Workspace, y: &ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        Error::check_shape("site input", &[x.nrows(), self.columns], x.shape())?;
        Error::check_shape("site output", &[x.nrows(), self.outputs()], y.shape())?;
        ws.prepared.fill(ctx.isa, ctx.mode, &self.pre, self.wants, x)
    }

    /// Computes the first stages, and prepares them for the second ones.
    fn run_stages(&self, ctx: &Ctx<'_>, ws: &mut Workspace) -> Result<(), Error> {
        let Some(total) = self.stages.last().map(|stage| stage.values.end) else { return Ok(()) };
        let tokens = ws.prepared.tokens();
        ws.staged.clear();
        ws.staged.resize(tokens * total, 0.0);
        let mut staged = ArrayViewMut2::from_shape((tokens, total), &mut ws.staged).expect("the buffer was sized for it");
        let prepared = &ws.prepared;
        ctx.team.split(staged.view_mut(), &self.stage_cuts, |i, t| {
            let (stage, part) = &self.stage_tasks[i];
            self.op(&self.stages[*stage]).stage(prepared, part.clone(), t);
        });
        ws.seconds.resize(self.stages.len(), Prepared::new());
        for (stage, second) in self.stages.iter().zip(&mut ws.seconds) {
            let mode = if stage.values.len() > LONG_STAGE { ctx.mode } else { Mode::Exact };
            let values = staged.slice_axis(Axis(1), stage.values.clone().into());
            second.fill(ctx.isa, mode, &Pre::none(), self.op(stage).staged_wants(), values)?;
        }
        Ok(())
    }

    fn op(&self, stage: &Stage) -> &dyn LinearOp {
        self.linears[stage.linear].terms[stage.term].op()
    }

    /// Adds the terms' products to `y`, `[tokens, task.rows.len()]`.
    fn accumulate(&self, ws: &Workspace, task: &Task, y: &mut ArrayViewMut2<'_, f32>) {
        let mut seconds = self.stages.iter().zip(&ws.seconds).filter(|(stage, _)| stage.linear == task.linear).peekable();
        for (term, t) in self.linears[task.linear].terms.iter().enumerate() {
            let staged = seconds.next_if(|(stage, _)| stage.term == term).map_or(&ws.none, |(_, second)| second);
            t.op().accumulate(&ws.prepared, staged, task.rows.clone(), y.view_mut());
        }
    }

    /// Post sees whole outputs, so it runs after all tasks; the bias comes last.
    fn finish(&self, mut y: ArrayViewMut2<'_, f32>) {
        let mut first = 0;
        for l in &self.linears {
            let m = l.shape()[0];
            if l.post != Post::None {
                for mut row in y.rows_mut() {
                    let row = &mut row.as_slice_mut().expect("the team checks that rows are contiguous")[first..first + m];
                    l.post.apply(row);
                    row.iter_mut().zip(l.bias().into_iter().flatten()).for_each(|(y, b)| *y += b);
                }
            }
            first += m;
        }
    }

    /// Shows `f` each stretch of memory that the matrices lie in, to be put elsewhere.
    pub(crate) fn each_bytes(&mut self, f: &mut dyn FnMut(&mut Bytes)) {
        self.linears.iter_mut().flat_map(|l| &mut l.terms).for_each(|term| term.each_bytes(f));
    }

    /// `out = W[i]` of matrix `linear`, `[inputs]`, through Post and Pre: how a tied embedding is read.
    ///
    /// # Errors
    /// [`Error::Index`] if there is no such row; [`Error::Shape`] if `out` has another length.
    pub fn row(&self, linear: usize, i: usize, mut out: ArrayViewMut1<'_, f32>) -> Result<(), Error> {
        let m = self.linears[linear].shape()[0];
        if i >= m {
            return Err(Error::Index { what: "row".to_owned(), index: i, bound: m });
        }
        Error::check_shape("row", &[self.columns], out.shape())?;
        out.fill(0.0);
        let l = &self.linears[linear];
        if l.post == Post::None {
            // An embedding is read for every token: nothing is allocated.
            l.terms.iter().for_each(|t| t.op().add_row(i, out.view_mut()));
            return self.pre.out_of_weights(out.insert_axis(Axis(0)));
        }
        let mut row = Array1::zeros(self.columns);
        for (i, share) in l.post.row(m, i) {
            row.fill(0.0);
            l.terms.iter().for_each(|t| t.op().add_row(i, row.view_mut()));
            out.scaled_add(share, &row);
        }
        self.pre.out_of_weights(out.insert_axis(Axis(0)))
    }
}

/// Whether the rows of `y` are each in one piece, as threads want them.
fn has_rows(y: &ArrayViewMut2<'_, f32>) -> bool {
    y.ncols() <= 1 || y.nrows() == 0 || y.strides()[1] == 1 && (y.nrows() == 1 || y.strides()[0] > 0)
}

/// For an output that lies otherwise.
fn into_rows(mut y: ArrayViewMut2<'_, f32>, f: impl FnOnce(ArrayViewMut2<'_, f32>) -> Result<(), Error>) -> Result<(), Error> {
    let mut rows = Array2::zeros(y.dim());
    f(rows.view_mut())?;
    y.assign(&rows);
    Ok(())
}

/// The bias where nothing comes between it and the sum, else 0.
fn start(linear: &Linear, rows: &Range<usize>, y: &mut ArrayViewMut2<'_, f32>) {
    match (&linear.post, linear.bias()) {
        (Post::None, Some(bias)) => {
            let bias = &bias[rows.clone()];
            y.rows_mut().into_iter().for_each(|mut y| match y.as_slice_mut() {
                Some(y) => y.copy_from_slice(bias),
                None => y.iter_mut().zip(bias).for_each(|(y, b)| *y = *b),
            })
        }
        _ => y.fill(0.0),
    }
}

/// `y += x w^T`
fn add_product(x: ArrayView2<'_, f32>, w: ArrayView2<'_, f32>, y: ArrayViewMut2<'_, f32>) {
    #[cfg(feature = "fit")]
    crate::linalg::matmul(1.0, x, w.t(), true, y);
    #[cfg(not(feature = "fit"))]
    {
        let mut y = y;
        ndarray::linalg::general_mat_mul(1.0, &x, &w.t(), 1.0, &mut y);
    }
}
