//! Places where a line can be wrong: found by parsing, not by patterns.
//!
//! A [`Site`] replaces a range of its file by [`Piece`]s, one of which is the switch that chooses
//! between the original and the mutation.

use std::ops::Range;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, ReturnType, Stmt, Type};

use super::active::is_active;

/// One possible mutation.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The file, from the root of the workspace.
    pub(crate) path: String,
    pub(crate) line: usize,
    /// `Type::function`.
    pub(crate) function: String,
    /// What it does, for people; stable as long as the function's text is.
    pub(crate) change: String,
    /// Bytes of the file that the pieces replace.
    pub(crate) range: Range<usize>,
    pub(crate) pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(&'static str),
    /// Bytes of the file, with the sites inside them.
    Source(Range<usize>),
    /// The call that returns whether this site is switched on.
    Switch,
}

use Piece::{Source, Switch, Text};

/// Returns the sites of one file, in its order.
pub(crate) fn sites(path: &str, text: &str) -> Vec<Site> {
    let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut finder =
        Finder { path, text, owner: String::new(), functions: Vec::new(), found: Vec::new() };
    finder.visit_file(&file);
    finder.found.sort_by_key(|site| (site.range.start, usize::MAX - site.range.end));
    finder.found
}

/// Returns the text with all of `sites`, which are of this file and in the order of [`sites`], each
/// with its number; and where each of them is now.
pub(crate) fn render(text: &str, sites: &[(usize, &Site)]) -> (String, Vec<(usize, Range<usize>)>) {
    let (mut out, mut places) = (String::new(), Vec::new());
    within(text, 0..text.len(), sites, &mut out, &mut places);
    (out, places)
}

fn within(
    text: &str,
    range: Range<usize>,
    sites: &[(usize, &Site)],
    out: &mut String,
    places: &mut Vec<(usize, Range<usize>)>,
) {
    let mut at = range.start;
    for (next, (number, site)) in (1..).zip(sites) {
        if site.range.start < at || site.range.end > range.end {
            continue; // inside one that was written, or outside this range
        }
        out.push_str(&text[at..site.range.start]);
        let start = out.len();
        for piece in &site.pieces {
            match piece {
                Text(text) => out.push_str(text),
                Switch => out.push_str(&format!("crate::mutant::on({number})")),
                Source(inner) => within(text, inner.clone(), &sites[next..], out, places),
            }
        }
        places.push((*number, start..out.len()));
        at = site.range.end;
    }
    out.push_str(&text[at..range.end]);
}

struct Finder<'a> {
    path: &'a str,
    text: &'a str,
    /// The type of the `impl`.
    owner: String,
    /// Functions around this place; none: nothing here is executed.
    functions: Vec<String>,
    found: Vec<Site>,
}

impl Finder<'_> {
    fn words(&self, range: Range<usize>) -> String {
        let words: Vec<&str> = self.text[range].split_whitespace().collect();
        let words = words.join(" ");
        match words.char_indices().nth(60) {
            Some((end, _)) => format!("{}…", &words[..end]),
            None => words,
        }
    }

    fn add(&mut self, at: Span, range: Range<usize>, change: String, pieces: Vec<Piece>) {
        let Some(name) = self.functions.last() else { return };
        let function = match self.owner.as_str() {
            "" => name.clone(),
            owner => format!("{owner}::{name}"),
        };
        let (path, line) = (self.path.to_owned(), at.start().line);
        self.found.push(Site { path, line, function, change, range, pieces });
    }

    /// Adds a site that replaces an expression by another one.
    fn instead(&mut self, expr: &impl Spanned, other: Vec<Piece>) {
        let span = expr.span();
        let range = span.byte_range();
        let said = |piece: &Piece| match piece {
            Text(text) => (*text).to_owned(),
            Source(range) => self.words(range.clone()),
            Switch => "..".to_owned(),
        };
        let said: String = other.iter().map(said).collect();
        let change = format!("`{}` becomes `{said}`", self.words(range.clone()));
        let mut pieces = vec![Text("(if "), Switch, Text(" { ")];
        pieces.extend(other);
        pieces.extend([Text(" } else { "), Source(range.clone()), Text(" })")]);
        self.add(span, range, change, pieces);
    }

    /// Adds a site that replaces an operator.
    fn operator(&mut self, expr: &syn::ExprBinary, operator: &'static str) {
        let (left, right) = (expr.left.span().byte_range(), expr.right.span().byte_range());
        self.instead(expr, vec![Source(left), Text(operator), Source(right)]);
    }

    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        self.functions.push(signature.ident.to_string());
        if !body.stmts.is_empty() {
            for value in values(&signature.output) {
                let start = body.brace_token.span.open().byte_range().end;
                let pieces =
                    vec![Text(" if "), Switch, Text(" { return "), Text(value), Text("; } ")];
                let change = match *value {
                    "" => "does nothing".to_owned(),
                    value => format!("returns `{value}`"),
                };
                self.add(signature.ident.span(), start..start, change, pieces);
            }
        }
        self.visit_block(body);
        self.functions.pop();
    }

    /// Adds sites that make an `if` condition false or negate it.
    fn condition(&mut self, expr: &syn::ExprIf) {
        let range = expr.cond.span().byte_range();
        let said = self.words(range.clone());
        let source = Source(range.clone());
        let leaves = expr.then_branch.stmts.last().is_some_and(leaves);
        if leaves && expr.else_branch.is_none() {
            let pieces = if has_let(&expr.cond) {
                vec![source.clone(), Text(" && !"), Switch]
            } else {
                vec![Text("!"), Switch, Text(" && ("), source.clone(), Text(")")]
            };
            let change = format!("does not leave if `{said}`");
            self.add(expr.cond.span(), range.clone(), change, pieces);
        }
        if !has_let(&expr.cond) && !is_mutated_itself(&expr.cond) {
            self.instead(&expr.cond, vec![Text("!("), source, Text(")")]);
        }
    }
}

/// Returns what a function could return without its work.
fn values(output: &ReturnType) -> &'static [&'static str] {
    let ReturnType::Type(_, output) = output else { return &[""] };
    match &**output {
        Type::Tuple(tuple) if tuple.elems.is_empty() => &[""],
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else { return &[] };
            match last.ident.to_string().as_str() {
                "bool" => &["true", "false"],
                "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" => {
                    &["0", "1"]
                }
                "Option" => &["None"],
                "Result" if of_unit(&last.arguments) => &["Ok(())"],
                "Result" => &["Ok(Default::default())"],
                "Self" => &[],
                _ => &["Default::default()"],
            }
        }
        _ => &[],
    }
}

/// Returns whether a `Result` is that of formatting, or `Result<(), _>`.
fn of_unit(arguments: &syn::PathArguments) -> bool {
    let syn::PathArguments::AngleBracketed(list) = arguments else { return true };
    let first = list.args.first();
    matches!(first, Some(syn::GenericArgument::Type(Type::Tuple(of))) if of.elems.is_empty())
}

/// Returns whether a statement is `return`, `break` or `continue`.
fn leaves(stmt: &Stmt) -> bool {
    matches!(stmt, Stmt::Expr(Expr::Return(_) | Expr::Break(_) | Expr::Continue(_), _))
}

fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(both) => has_let(&both.left) || has_let(&both.right),
        Expr::Paren(inner) => has_let(&inner.expr),
        _ => false,
    }
}

/// Returns whether another operator negates it already.
fn is_mutated_itself(expr: &Expr) -> bool {
    match expr {
        Expr::Binary(_) | Expr::Unary(_) | Expr::Lit(_) => true,
        Expr::Paren(inner) => is_mutated_itself(&inner.expr),
        Expr::MethodCall(call) => opposite(&call.method.to_string()).is_some(),
        _ => false,
    }
}

/// Returns the method that could be confused with this one: same arguments, same type.
fn opposite(method: &str) -> Option<&'static str> {
    Some(match method {
        "min" => "max",
        "max" => "min",
        "any" => "all",
        "all" => "any",
        "is_some" => "is_none",
        "is_none" => "is_some",
        "is_ok" => "is_err",
        "is_err" => "is_ok",
        "checked_add" => "checked_sub",
        "checked_sub" => "checked_add",
        "saturating_add" => "saturating_sub",
        "saturating_sub" => "saturating_add",
        "wrapping_add" => "wrapping_sub",
        "wrapping_sub" => "wrapping_add",
        _ => return None,
    })
}

/// Returns operators that replace the right one.
fn others(operator: &BinOp) -> &'static [&'static str] {
    match operator {
        BinOp::Lt(_) => &[" >= ", " <= "],
        BinOp::Le(_) => &[" > ", " < "],
        BinOp::Gt(_) => &[" <= ", " >= "],
        BinOp::Ge(_) => &[" < ", " > "],
        BinOp::Eq(_) => &[" != "],
        BinOp::Ne(_) => &[" == "],
        BinOp::Add(_) => &[" - "],
        BinOp::Sub(_) => &[" + "],
        BinOp::AddAssign(_) => &[" -= "],
        BinOp::SubAssign(_) => &[" += "],
        BinOp::And(_) => &[" || "],
        BinOp::Or(_) => &[" && "],
        _ => &[],
    }
}

/// Returns whether a statement has an effect that could be missed.
fn is_deed(expr: &Expr) -> bool {
    match expr {
        Expr::Call(_) | Expr::MethodCall(_) | Expr::Assign(_) => true,
        Expr::Binary(binary) => is_assignment(&binary.op),
        Expr::Try(inner) => is_deed(&inner.expr),
        _ => false,
    }
}

fn is_assignment(operator: &BinOp) -> bool {
    matches!(operator, BinOp::BitOrAssign(_) | BinOp::BitAndAssign(_) | BinOp::AddAssign(_))
}

fn attributes(expr: &Expr) -> &[syn::Attribute] {
    match expr {
        Expr::Block(expr) => &expr.attrs,
        Expr::Call(expr) => &expr.attrs,
        Expr::If(expr) => &expr.attrs,
        Expr::MethodCall(expr) => &expr.attrs,
        _ => &[],
    }
}

impl<'a> Visit<'a> for Finder<'_> {
    fn visit_item(&mut self, item: &'a syn::Item) {
        // Constants are not computed at run time; what macros get is not parsed.
        let attrs = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Trait(item) => &item.attrs,
            _ => return,
        };
        if is_active(attrs) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        let name = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        let outer = core::mem::replace(&mut self.owner, name.unwrap_or_default());
        item.items.iter().for_each(|item| self.visit_impl_item(item));
        self.owner = outer;
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        if item.sig.constness.is_none() && is_active(&item.attrs) {
            self.function(&item.sig, &item.block);
        }
    }

    fn visit_impl_item(&mut self, item: &'a syn::ImplItem) {
        if let syn::ImplItem::Fn(item) = item
            && item.sig.constness.is_none()
            && is_active(&item.attrs)
        {
            self.function(&item.sig, &item.block);
        }
    }

    fn visit_trait_item(&mut self, item: &'a syn::TraitItem) {
        if let syn::TraitItem::Fn(item) = item
            && let Some(body) = &item.default
        {
            self.function(&item.sig, body);
        }
    }

    fn visit_pat(&mut self, _: &'a syn::Pat) {}

    fn visit_type(&mut self, _: &'a Type) {}

    fn visit_attribute(&mut self, _: &'a syn::Attribute) {}

    fn visit_generic_argument(&mut self, _: &'a syn::GenericArgument) {}

    fn visit_expr_const(&mut self, _: &'a syn::ExprConst) {}

    fn visit_expr_repeat(&mut self, repeat: &'a syn::ExprRepeat) {
        self.visit_expr(&repeat.expr); // its length is a constant
    }

    fn visit_arm(&mut self, arm: &'a syn::Arm) {
        if is_active(&arm.attrs) {
            visit::visit_arm(self, arm);
        }
    }

    fn visit_field_value(&mut self, field: &'a syn::FieldValue) {
        if is_active(&field.attrs) {
            visit::visit_field_value(self, field);
        }
    }

    fn visit_local(&mut self, local: &'a syn::Local) {
        if is_active(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        if let Stmt::Expr(expr, semicolon) = stmt {
            if !is_active(attributes(expr)) {
                return;
            }
            if semicolon.is_some() && is_deed(expr) {
                let range = stmt.span().byte_range();
                let change = format!("`{}` is left out", self.words(range.clone()));
                let pieces =
                    vec![Text("if !"), Switch, Text(" { "), Source(range.clone()), Text(" }")];
                self.add(stmt.span(), range, change, pieces);
            }
        }
        visit::visit_stmt(self, stmt);
    }

    fn visit_expr_if(&mut self, expr: &'a syn::ExprIf) {
        self.condition(expr);
        visit::visit_expr_if(self, expr);
    }

    fn visit_expr_binary(&mut self, expr: &'a syn::ExprBinary) {
        if !has_let(&expr.left) && !has_let(&expr.right) {
            for other in others(&expr.op) {
                self.operator(expr, other);
            }
        }
        visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_unary(&mut self, expr: &'a syn::ExprUnary) {
        if matches!(expr.op, syn::UnOp::Not(_)) {
            self.instead(expr, vec![Source(expr.expr.span().byte_range())]);
        }
        visit::visit_expr_unary(self, expr);
    }

    fn visit_expr_lit(&mut self, expr: &'a syn::ExprLit) {
        match &expr.lit {
            syn::Lit::Bool(value) if value.value => self.instead(expr, vec![Text("false")]),
            syn::Lit::Bool(_) => self.instead(expr, vec![Text("true")]),
            syn::Lit::Int(_) => {
                let range = expr.span().byte_range();
                self.instead(expr, vec![Source(range), Text(" + 1")]);
            }
            _ => {}
        }
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        if let Some(other) = opposite(&call.method.to_string()) {
            let (all, name) = (call.span().byte_range(), call.method.span().byte_range());
            let (before, after) = (Source(all.start..name.start), Source(name.end..all.end));
            self.instead(call, vec![before, Text(other), after]);
        }
        visit::visit_expr_method_call(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(text: &str) -> Vec<String> {
        sites("sample.rs", text).into_iter().map(|site| site.change).collect()
    }

    fn rendered(text: &str, which: &[usize]) -> String {
        let all = sites("sample.rs", text);
        let chosen: Vec<_> = which.iter().map(|at| (at + 1, &all[*at])).collect();
        let (out, places) = render(text, &chosen);
        assert!(places.iter().all(|(number, at)| out[at.clone()].contains(&format!("({number})"))));
        syn::parse_file(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
        out
    }

    #[test]
    fn operators_conditions_and_literals_are_found() {
        assert_eq!(
            changes("fn f() { let x = a < b && !c; }"),
            [
                "does nothing",
                "`a < b && !c` becomes `a < b || !c`",
                "`a < b` becomes `a >= b`",
                "`a < b` becomes `a <= b`",
                "`!c` becomes `c`",
            ]
        );
        assert_eq!(
            changes("fn f() -> Option<u8> { x.min(1); y += true }"),
            [
                "returns `None`",
                "`x.min(1);` is left out",
                "`x.min(1)` becomes `x.max(1)`",
                "`1` becomes `1 + 1`",
                "`y += true` becomes `y -= true`",
                "`true` becomes `false`",
            ]
        );
        assert_eq!(
            changes(
                "impl A { fn f(&self) -> &B { if c() { return d; } while let X(3) = e {} g } }"
            ),
            ["does not leave if `c()`", "`c()` becomes `!(c())`"]
        );
        assert_eq!(
            changes("fn f() -> Result<(), E> { if let Some(x) = y && z { continue } }"),
            ["returns `Ok(())`", "does not leave if `let Some(x) = y && z`"]
        );
    }

    #[test]
    fn statements_are_left_out() {
        let text = "fn f() -> &A { g(1)?; x.y = 2; let z = h(); i() }";
        let left_out = |change: &String| change.ends_with("left out");
        let found: Vec<String> = changes(text).into_iter().filter(left_out).collect();
        assert_eq!(found, ["`g(1)?;` is left out", "`x.y = 2;` is left out"]);
    }

    #[test]
    fn what_does_not_run_is_no_site() {
        for text in [
            "const A: u8 = 1 + 2; static B: bool = true; enum C { D = 1 }",
            "const fn f() -> bool { 1 < 2 }",
            "#[cfg(test)] mod tests { fn f() -> bool { true } }",
            "#[cfg(not(feature = \"std\"))] fn f() -> bool { true }",
            "impl A { #[cfg(feature = \"defmt\")] fn f(&self) -> bool { true } }",
            "#[test] fn f() { g(1); }",
            "fn f() -> &A { m!(1 + 2, true) }",
            "fn f(x: [u8; 3]) -> &A { match x { [1, ..] => A::<4>, _ => [b; 5] } }",
        ] {
            assert_eq!(changes(text), [""; 0], "{text}");
        }
        assert_eq!(changes("#[cfg(feature = \"std\")] fn f() { g() }"), ["does nothing"]);
    }

    #[test]
    fn a_place_is_named_by_line_and_function() {
        let text = "mod a {\n    impl<T> B<T> {\n        fn c() -> &D {\n            e > f\n";
        let found = sites("core/x.rs", &format!("{text} }} }} }}"));
        let Site { path, line, function, .. } = &found[0];
        assert_eq!((path.as_str(), *line, function.as_str()), ("core/x.rs", 4, "B::c"));
        let umlaut = "fn f() -> &D { \"äöü\"; a == b }";
        assert_eq!(changes(umlaut), ["`a == b` becomes `a != b`"], "bytes, not characters");
    }

    #[test]
    fn sites_inside_sites_are_written_too() {
        let text = "fn f() -> &A { if a < b || c { return 0; } d(1); }";
        let all: Vec<usize> = (0..changes(text).len()).collect();
        for one in &all {
            let out = rendered(text, &[*one]);
            assert!(out.contains(&format!("crate::mutant::on({})", one + 1)), "{out}");
        }
        let out = rendered(text, &all);
        for one in &all {
            assert!(out.contains(&format!("crate::mutant::on({})", one + 1)), "{one}: {out}");
        }
        assert_eq!(rendered(text, &[]), text);
        assert_eq!(
            rendered("fn f() -> &A { a && b }", &[0]),
            "fn f() -> &A { (if crate::mutant::on(1) { a || b } else { a && b }) }"
        );
        assert_eq!(
            rendered("fn f() { if a() { return; } }", &[1]),
            "fn f() { if !crate::mutant::on(2) && (a()) { return; } }"
        );
    }
}
