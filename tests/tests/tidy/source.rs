//! Rust files of the project, and the facts that the rules need.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Returns the folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the package lies in the workspace").to_path_buf()
}

/// Returns every file below `folder` that `keep` accepts, with its path relative to [`root`] (with
/// `/`), without build output and hidden folders other than `.ci`.
pub(crate) fn files(folder: &str, keep: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut open = vec![root.join(folder)];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let skipped = name.starts_with("target") || (name.starts_with('.') && name != ".ci");
            if path.is_dir() {
                if !skipped {
                    open.push(path);
                }
                continue;
            }
            let below = path.strip_prefix(&root).expect("below the root");
            let below = below.to_string_lossy().replace('\\', "/");
            if keep(&below) {
                let text = fs::read(&path).unwrap_or_else(|error| panic!("{below}: {error}"));
                found.push((below, String::from_utf8_lossy(&text).into_owned()));
            }
        }
    }
    found.sort();
    found
}

/// Returns every Rust file of the project.
pub(crate) fn rust_files() -> Vec<(String, String)> {
    let found = files("", |path| path.ends_with(".rs"));
    assert!(found.len() > 10, "only {} Rust files found", found.len());
    found
}

/// The facts of one file.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// `(name, line, lines)` of every function with a body.
    pub(crate) functions: Vec<(String, usize, usize)>,
    /// Names of test functions.
    pub(crate) tests: BTreeSet<String>,
    /// `(line, what)` of everything outside tests that may panic on purpose.
    pub(crate) panics: Vec<(usize, String)>,
    /// `(module, path)`: what each module outside tests names, both as seen from the crate's root.
    pub(crate) names: Vec<(Vec<String>, Vec<String>)>,
    /// The same for what is re-exported.
    pub(crate) reexports: Vec<(Vec<String>, Vec<String>)>,
    /// Modules in files of their own that only tests use.
    pub(crate) test_modules: Vec<Vec<String>>,
}

/// Reads `text`, a file that is the module `module` of its crate.
pub(crate) fn facts(path: &str, text: &str, module: &[&str]) -> Facts {
    let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut reader =
        Reader { module: module.iter().map(|part| (*part).into()).collect(), ..Reader::default() };
    reader.below = file.items.iter().filter_map(declared).collect();
    reader.visit_file(&file);
    reader.facts
}

#[derive(Default)]
struct Reader {
    facts: Facts,
    module: Vec<String>,
    /// Modules that the file declares.
    below: BTreeSet<String>,
    in_test: bool,
}

impl Reader {
    fn function(
        &mut self,
        name: &syn::Ident,
        attrs: &[syn::Attribute],
        from: &dyn Spanned,
        body: &syn::Block,
    ) {
        let first = from.span().start().line;
        let last = body.span().end().line;
        self.facts.functions.push((name.to_string(), first, last + 1 - first));
        let is_test = |attr: &syn::Attribute| {
            attr.path().segments.last().is_some_and(|segment| segment.ident == "test")
        };
        if attrs.iter().any(is_test) {
            self.facts.tests.insert(name.to_string());
        }
    }

    fn panics(&mut self, at: proc_macro2::Span, what: &str) {
        if !self.in_test {
            self.facts.panics.push((at.start().line, what.to_string()));
        }
    }

    /// Notes `path` if it starts at the crate's root or goes up from here.
    fn name(&mut self, path: &[String]) {
        if self.in_test {
            return;
        }
        let resolved = match path.first().map(String::as_str) {
            Some("crate") => path[1..].to_vec(),
            // One of its own modules.
            Some(first) if self.below.contains(first) => [&self.module[..], path].concat(),
            Some("self" | "super") => {
                let up = path.iter().filter(|part| *part == "super").count();
                let here = self.module.len().saturating_sub(up);
                let rest = path.iter().filter(|part| *part != "super" && *part != "self");
                self.module[..here].iter().chain(rest).cloned().collect()
            }
            _ => return,
        };
        self.facts.names.push((self.module.clone(), resolved));
    }

    fn uses(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(part) => self.uses(&with(&part.ident), &part.tree),
            syn::UseTree::Name(part) => self.name(&with(&part.ident)),
            syn::UseTree::Rename(part) => self.name(&with(&part.ident)),
            syn::UseTree::Glob(_) => self.name(&[before, &["*".into()]].concat()),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.uses(before, tree))
            }
        }
    }

    /// Macro input is not parsed: it is searched word by word.
    fn tokens(&mut self, tokens: TokenStream, may_define_tests: bool) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let text = |at: usize| trees.get(at).map(ToString::to_string).unwrap_or_default();
        for (at, tree) in trees.iter().enumerate() {
            match tree {
                TokenTree::Group(group) => self.tokens(group.stream(), may_define_tests),
                TokenTree::Ident(word) if word == "crate" && text(at + 1) == ":" => {
                    self.name(&["crate".into(), text(at + 3)]);
                }
                TokenTree::Ident(word) if word == "fn" && may_define_tests => {
                    self.facts.tests.insert(text(at + 1));
                }
                TokenTree::Ident(word) => {
                    let called = at > 0 && text(at - 1) == "." && text(at + 1).starts_with('(');
                    let invoked = text(at + 1) == "!";
                    let word = word.to_string();
                    if called && PANICKING_METHODS.contains(&word.as_str())
                        || invoked && PANICKING_MACROS.contains(&word.as_str())
                    {
                        self.panics(tree.span(), &word);
                    }
                }
                _ => {}
            }
        }
    }
}

const PANICKING_METHODS: [&str; 4] = ["unwrap", "expect", "unwrap_err", "expect_err"];
const PANICKING_MACROS: [&str; 4] = ["panic", "todo", "unimplemented", "unreachable"];

/// Returns the module in a file of its own that an item declares.
fn declared(item: &syn::Item) -> Option<String> {
    match item {
        syn::Item::Mod(item) if item.content.is_none() => Some(item.ident.to_string()),
        _ => None,
    }
}

/// Returns whether there is `#[cfg(test)]`, `#[cfg(all(test, ..))]` or a test function.
fn for_tests(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| match &attr.meta {
        syn::Meta::List(list) if attr.path().is_ident("cfg") => {
            let condition: String = list.tokens.to_string().split_whitespace().collect();
            condition == "test" || condition.starts_with("all(test,")
        }
        meta => meta.path().segments.last().is_some_and(|segment| segment.ident == "test"),
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl<'a> Visit<'a> for Reader {
    fn visit_item(&mut self, item: &'a syn::Item) {
        let before = self.in_test;
        self.in_test |= for_tests(attributes(item));
        visit::visit_item(self, item);
        self.in_test = before;
    }

    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        self.module.push(item.ident.to_string());
        if item.content.is_none() && self.in_test {
            self.facts.test_modules.push(self.module.clone());
        }
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.function(&item.sig.ident, &item.attrs, &item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.function(&item.sig.ident, &item.attrs, &item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'a syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.sig.ident, &item.attrs, &item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        let before = self.facts.names.len();
        self.uses(&[], &item.tree);
        if !matches!(item.vis, syn::Visibility::Inherited) {
            self.facts.reexports.extend_from_slice(&self.facts.names[before..]);
        }
    }

    /// `pub(super)` uses nothing.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.name(&parts);
        if let [.., _, last] = parts.as_slice()
            && PANICKING_METHODS.contains(&last.as_str())
        {
            self.panics(path.span(), last);
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        let name = call.method.to_string();
        // With more arguments it is a method of another type.
        if PANICKING_METHODS.contains(&name.as_str()) && call.args.len() < 2 {
            self.panics(call.method.span(), &name);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, mac: &'a syn::Macro) {
        let name = mac.path.segments.last().map(|part| part.ident.to_string()).unwrap_or_default();
        if PANICKING_MACROS.contains(&name.as_str()) {
            self.panics(mac.path.span(), &name);
        }
        self.tokens(mac.tokens.clone(), name == "proptest");
    }
}
