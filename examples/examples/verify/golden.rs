//! stories260K, greedy from nothing.

use crate::{Result, STORIES};
use scant_examples::data::real;
use scant_tensor_core::isa::Isa;
use scant_tensor_core::team::Team;
use scant_tensor_core::{Ctx, Mode};
use scant_transformer::{Options, Sampler, Sampling, Session, open};

const STORY: &str = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red \
                     ball. She wanted to play with it, but it was too high.";

pub(crate) fn run() -> Result<()> {
    let model = open(real(STORIES)?)?;
    let team = Team::new(1);
    let ctx = Ctx { isa: Isa::best(), mode: Mode::Exact, team: &team };
    let mut session = Session::new(&model, ctx, Options::default())?;
    let text: String = session.generate_text("", Sampler::new(Sampling::greedy())?, 120)?.collect::<std::result::Result<_, _>>()?;
    let text = text.trim_start();
    if text.starts_with(STORY) {
        println!("   {STORY}");
        return Ok(());
    }
    let same = text.bytes().zip(STORY.bytes()).take_while(|(a, b)| a == b).count();
    Err(format!("the text parts from the known one after {same} bytes: {text}").into())
}
