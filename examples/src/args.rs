//! Command-line arguments: `--name value`, `--flag`, and words.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// An option of a program.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Its name, without dashes.
    pub name: &'static str,
    /// What its value is called in the help text; empty for a flag.
    pub value: &'static str,
    /// One line of help.
    pub help: &'static str,
}

/// Parsed arguments.
#[derive(Clone, Debug, Default)]
pub struct Args {
    /// Words that belong to no option.
    pub words: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Args {
    /// Parses the program's arguments. `--help` prints the help text and ends the program; a mistake prints what is known and ends it with 2.
    #[expect(clippy::print_stdout, reason = "help goes to standard output")]
    pub fn parse(about: &str, options: &[Opt]) -> Args {
        match Args::from(std::env::args().skip(1), options) {
            Ok(args) if args.flag("help") => {
                println!("{}", help(about, options));
                std::process::exit(0)
            }
            Ok(args) => args,
            Err(e) => {
                eprintln!("{e}\n\n{}", help(about, options));
                std::process::exit(2)
            }
        }
    }

    /// Parses `given`.
    ///
    /// # Errors
    /// A sentence naming the option that is unknown or lacks its value.
    pub fn from(given: impl IntoIterator<Item = String>, options: &[Opt]) -> Result<Args, String> {
        let mut args = Args::default();
        let mut given = given.into_iter();
        while let Some(word) = given.next() {
            let word = if word == "-h" { "--help".to_owned() } else { word };
            if word.len() > 1 && word.starts_with('-') && !word.starts_with("--") {
                return Err(format!("option {word} is unknown; options begin with two dashes, see --help"));
            }
            // Cargo hands `--bench` to every bench program.
            let Some(name) = word.strip_prefix("--") else {
                args.words.push(word);
                continue;
            };
            let (name, inline) = name.split_once('=').map_or((name, None), |(n, v)| (n, Some(v.to_owned())));
            let value = match options.iter().find(|o| o.name == name) {
                None if name == "help" => String::new(),
                None => {
                    let known: Vec<_> = options.iter().map(|o| format!("--{}", o.name)).collect();
                    return Err(format!("option --{name} is unknown; known are {} and --help", known.join(", ")));
                }
                Some(o) if o.value.is_empty() && inline.is_some() => return Err(format!("option --{name} takes no value")),
                Some(o) if o.value.is_empty() => String::new(),
                Some(o) => inline.or_else(|| given.next()).ok_or_else(|| format!("option --{name} wants a value: {}", o.value))?,
            };
            args.values.insert(name.to_owned(), value);
        }
        Ok(args)
    }

    /// The one word that a program takes, if it was given.
    ///
    /// # Errors
    /// A sentence with the words that are too many.
    pub fn word(&self) -> Result<Option<&str>, String> {
        match &self.words[..] {
            [] => Ok(None),
            [word] => Ok(Some(word)),
            [first, more @ ..] => Err(format!("one model at a time: {first} was given, and then {}", more.join(" "))),
        }
    }

    /// Whether a flag or option was given.
    pub fn flag(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The value of an option.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value of an option, parsed.
    ///
    /// # Errors
    /// A sentence with the option, its value and what is wrong with it.
    pub fn get<T: FromStr<Err: Display>>(&self, name: &str, default: T) -> Result<T, String> {
        self.value(name).map_or(Ok(default), |v| v.parse().map_err(|e| format!("--{name} {v}: {e}")))
    }
}

fn help(about: &str, options: &[Opt]) -> String {
    let left: Vec<String> = options.iter().map(|o| format!("--{} {}", o.name, o.value)).collect();
    let width = left.iter().map(String::len).max().unwrap_or(0);
    options.iter().zip(left).fold(format!("{about}\n"), |text, (o, left)| format!("{text}\n  {left:width$}  {}", o.help))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[Opt] =
        &[Opt { name: "bits", value: "N", help: "bits of a code" }, Opt { name: "quick", value: "", help: "a short run" }];

    fn parse(line: &str) -> Result<Args, String> {
        Args::from(line.split_whitespace().map(str::to_owned), OPTIONS)
    }

    #[test]
    fn options_flags_and_words() {
        let args = parse("model.gguf --bits 3 --quick").unwrap();
        assert_eq!((&args.words[..], args.flag("quick")), (&["model.gguf".to_owned()][..], true));
        assert_eq!(parse("--bits=2").unwrap().get("bits", 4), Ok(2));
        assert_eq!(parse("").unwrap().get("bits", 4), Ok(4));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(parse("--bit 3").unwrap_err().contains("--bits"));
        assert!(parse("--bits").unwrap_err().contains("wants a value: N"));
        assert!(parse("--bits x").unwrap().get("bits", 4).unwrap_err().starts_with("--bits x: "));
    }
}
