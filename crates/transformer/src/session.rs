//! One sequence: a prompt, then token by token.

use crate::forward::{Run, Scratch, Sequence, fit};
use crate::{Error, Model, Path, Rope};
use ndarray::ArrayView2;
use scant_kvcache::{Cache, KvType, LayerBytes};
use scant_tensor_core::Ctx;
use std::ops::Range;
use std::sync::Arc;

/// Settings of a [`Session`].
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How products over a prompt are computed. A token is always decoded from the panels.
    pub path: Path,
    /// How the cache stores keys and values.
    pub kv: KvType,
    /// Tokens of a prompt that go through the model together.
    pub chunk: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { path: Path::default(), kv: KvType::default(), chunk: 512 }
    }
}

/// A sequence in work over a model: its cache and its buffers.
#[derive(Debug)]
pub struct Session<'m> {
    model: &'m Model,
    ctx: Ctx<'m>,
    options: Options,
    cache: Cache,
    scratch: Scratch,
    /// The stream, `[tokens, hidden]`.
    x: Vec<f32>,
    logits: Vec<f32>,
}

impl<'m> Session<'m> {
    /// An empty sequence with a cache as `options` say.
    ///
    /// # Errors
    /// [`Error::Cache`] for a description whose attention cannot be.
    pub fn new(model: &'m Model, ctx: Ctx<'m>, options: Options) -> Result<Session<'m>, Error> {
        let layers = (0..model.config().layers.len()).map(|l| model.config().geometry(l)).collect::<Result<Vec<_>, _>>()?;
        let config = model.config();
        let of_kind = |r: &Rope| r.frequencies(config.head_dim).into_iter().map(|f| f as f32).collect::<Arc<[f32]>>();
        let kinds: Vec<_> = config.ropes.iter().map(of_kind).collect();
        let frequencies: Vec<_> = config.layers.iter().map(|l| kinds[l.rope].clone()).collect();
        Ok(Session::with_cache(model, ctx, options, Cache::of(&layers, options.kv, &frequencies)?))
    }

    /// A sequence whose keys and values are held by `cache`, which may hold some already.
    ///
    /// # Panics
    /// If the cache has not a layer for each of the model's.
    pub fn with_cache(model: &'m Model, ctx: Ctx<'m>, options: Options, cache: Cache) -> Session<'m> {
        assert_eq!(cache.layers().len(), model.config().layers.len(), "Session::with_cache: layers of the cache and the model");
        Session { model, ctx, options, cache, scratch: Scratch::default(), x: vec![], logits: vec![] }
    }

    /// The model.
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// Tokens in the cache.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// True before the first token.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Heap of the cache.
    pub fn cache_bytes(&self) -> LayerBytes {
        self.cache.bytes()
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Takes back everything from position `len` on.
    ///
    /// # Errors
    /// [`Error::Cache`] if the cache cannot.
    pub fn truncate(&mut self, len: usize) -> Result<(), Error> {
        Ok(self.cache.truncate(len)?)
    }

    /// Says that a prompt is complete: a cache with a policy gives up now what the policy says, not only while decoding.
    ///
    /// # Errors
    /// [`Error::Cache`].
    pub fn compress(&mut self) -> Result<(), Error> {
        Ok(self.cache.compress(&self.ctx, self.scratch.cache_workspace())?)
    }

    /// Takes memory for `tokens` in all now, so that decoding up to there takes none.
    pub fn reserve(&mut self, tokens: usize) {
        self.cache.reserve(tokens);
    }

    /// Appends a prompt and returns the logits `[vocabulary]` of what follows its last token. A cache with a policy is thinned out behind it.
    ///
    /// # Errors
    /// [`Error::NoTokens`]; [`Error::Token`]; [`Error::Context`] beyond the model's context: the sequence is as it was before. So it is after
    /// other errors (numbers that are not finite), unless layers with windows have moved on; then it is empty.
    pub fn prefill(&mut self, tokens: &[u32]) -> Result<&[f32], Error> {
        let Some(last) = tokens.len().checked_sub(1) else {
            return Err(Error::NoTokens);
        };
        self.stream(tokens, self.options.path, |session, chunk| {
            if chunk.end > last {
                let row = chunk.len() - 1;
                session.head(row..row + 1, session.options.path)?;
            }
            Ok(())
        })?;
        self.compress()?;
        Ok(&self.logits)
    }

    /// Appends one token and returns the logits `[vocabulary]` of what follows it. Takes no heap where the cache has room.
    ///
    /// # Errors
    /// [`Error::Token`]; [`Error::Context`] beyond the model's context; otherwise as [`prefill`](Session::prefill).
    pub fn decode(&mut self, token: u32) -> Result<&[f32], Error> {
        self.stream(&[token], Path::Panel, |session, _| session.head(0..1, Path::Panel))?;
        Ok(&self.logits)
    }

    /// As [`prefill`](Session::prefill), with the logits of every token: calls `f(first, logits)` for blocks of at most `block` rows,
    /// `[rows, vocabulary]`.
    ///
    /// # Errors
    /// As there.
    pub fn score(&mut self, tokens: &[u32], block: usize, f: &mut dyn FnMut(usize, ArrayView2<'_, f32>)) -> Result<(), Error> {
        self.score_from(tokens, 0, block, f)
    }

    /// As [`score`](Session::score), for the tokens from index `from` on alone; the head is left out for the others.
    ///
    /// # Errors
    /// As there.
    pub fn score_from(
        &mut self,
        tokens: &[u32],
        from: usize,
        block: usize,
        f: &mut dyn FnMut(usize, ArrayView2<'_, f32>),
    ) -> Result<(), Error> {
        let (path, vocabulary) = (self.options.path, self.model.config().vocabulary);
        self.stream(tokens, path, |session, chunk| {
            for first in (chunk.start.max(from)..chunk.end).step_by(block.max(1)) {
                let rows = first - chunk.start..(first + block.max(1)).min(chunk.end) - chunk.start;
                session.head(rows.clone(), path)?;
                f(first, ArrayView2::from_shape((rows.len(), vocabulary), &session.logits).expect("`head` sizes it"));
            }
            Ok(())
        })
    }

    /// Runs all blocks over `tokens`, chunk by chunk, and calls `each` with the tokens' range while `x` holds what leaves the last block.
    fn stream(
        &mut self,
        tokens: &[u32],
        path: Path,
        mut each: impl FnMut(&mut Self, Range<usize>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (start, c) = (self.len(), self.model.config());
        if start + tokens.len() > c.context {
            return Err(Error::Context { tokens: start + tokens.len(), context: c.context });
        }
        if let Some(token) = tokens.iter().find(|token| **token as usize >= c.vocabulary) {
            return Err(Error::Token { token: *token, vocabulary: c.vocabulary });
        }
        let chunk = self.options.chunk.max(1);
        let mut result = Ok(());
        for (i, part) in tokens.chunks(chunk).enumerate() {
            let first = i * chunk;
            result = self.blocks(part, path).and_then(|()| each(self, first..first + part.len()));
            if result.is_err() {
                break;
            }
        }
        if result.is_err() {
            // Some layers may have the tokens and some not, and one with a window may have given up for them what it would need again.
            self.cache.truncate(start).or_else(|_| self.cache.truncate(0))?;
        }
        result
    }

    fn blocks(&mut self, tokens: &[u32], path: Path) -> Result<(), Error> {
        let Session { model, ctx, cache, scratch, x, .. } = self;
        let config = model.config();
        let x = fit(x, tokens.len() * config.hidden);
        model.embed_into(tokens, x)?;
        let first = cache.len();
        scratch.rotate_for(config, first..first + tokens.len());
        let run = Run { ctx, path, config };
        for (layer, block) in model.blocks().iter().enumerate() {
            let mut sequence = [Sequence { rows: 0..tokens.len(), cache: cache.layer(layer) }].into_iter();
            run.block(layer, block, x, &mut sequence, &|row| row, scratch, &mut |_, _| ())?;
        }
        Ok(())
    }

    /// Logits of some rows of the stream.
    fn head(&mut self, rows: Range<usize>, path: Path) -> Result<(), Error> {
        let Session { model, ctx, scratch, x, logits, .. } = self;
        let config = model.config();
        let logits = fit(logits, rows.len() * config.vocabulary);
        Run { ctx, path, config }.head(model, &x[rows.start * config.hidden..rows.end * config.hidden], scratch, logits)
    }
}
