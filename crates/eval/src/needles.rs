//! Needles: a key stated somewhere in a long text, asked for at its end.

use scant_tensor_core::rng::Rng;

/// A text with keys in it and a question about one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle {
    /// The text, keys included.
    pub context: String,
    /// What comes after it, up to the answer.
    pub question: String,
    /// The key that was asked for, as it is stated.
    pub answer: String,
    /// Keys in the text.
    pub keys: usize,
}

const KINDS: [&str; 8] = ["library", "harbour", "garden", "archive", "station", "museum", "bakery", "theatre"];
const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// A needle in `filler`, which is cut at spaces: `keys` sentences, each with a random key of 12 characters, at random places. More keys than
/// one make it a question of telling them apart (RULER's multi-key task, Hsieh et al. 2024); there are at most 8.
///
/// ```
/// use scant_eval::needle;
/// let item = needle("one two three four five six", 2, 7);
/// assert!(item.context.contains(&item.answer) && item.answer.len() == 12 && item.keys == 2);
/// assert_eq!(item, needle("one two three four five six", 2, 7));
/// ```
pub fn needle(filler: &str, keys: usize, seed: u64) -> Needle {
    let mut rng = Rng::new(seed);
    let mut kinds = KINDS;
    rng.shuffle(&mut kinds);
    let keys = keys.clamp(1, kinds.len());
    let words: Vec<&str> = filler.split(' ').collect();
    let mut places: Vec<usize> = (0..keys).map(|_| rng.below(words.len() + 1)).collect();
    places.sort_unstable();
    let stated: Vec<String> = (0..keys).map(|_| (0..12).map(|_| char::from(LETTERS[rng.below(LETTERS.len())])).collect()).collect();
    let mut context = String::with_capacity(filler.len() + 64 * keys);
    for i in 0..=words.len() {
        for (place, (kind, key)) in places.iter().zip(kinds.iter().zip(&stated)) {
            if *place == i {
                context.push_str(&format!(" The secret key of the {kind} is {key}. "));
            }
        }
        if let Some(word) = words.get(i) {
            context.push_str(word);
            context.push(' ');
        }
    }
    let asked = rng.below(keys);
    let question = format!("\nThe secret key of the {} is", kinds[asked]);
    Needle { context, question, answer: stated[asked].clone(), keys }
}
