"""How the report looks."""

STYLE = """
:root { color-scheme: dark; }
* { box-sizing: border-box; }
body { margin: 0; padding: 2.2rem clamp(1rem, 4vw, 4rem) 4rem; background: #17191d; color: #dfe2e6;
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; font-weight: 650; }
h2 { font-size: 1.25rem; margin: 2.8rem 0 .2rem; padding-top: 1.2rem; border-top: 1px solid #30343b; }
p { max-width: 70ch; margin: .3rem 0 1rem; color: #aab0b8; }
code { color: #c9d4e3; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 1rem 0;
  color: #aab0b8; }
dt { color: #7d848e; } dd { margin: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; }
.figures { font-variant-numeric: tabular-nums; }
.figures th, .figures td { padding: .42rem 1.1rem .42rem 0; border-bottom: 1px solid #2a2e34;
  text-align: right; }
.figures th:first-child, .figures td:first-child { text-align: left; min-width: 19rem; }
.figures thead th { color: #7d848e; font-weight: 500; }
.figures small { display: block; color: #7d848e; line-height: 1.25; max-width: 24rem; }
.figures .baseline { color: #868d97; }
.mark { display: inline-block; min-width: 4.4rem; padding: .08rem .55rem; border-radius: 1rem;
  text-align: center; }
.good { background: #1d3f2c; color: #8fe0ae; } .fair { background: #40381c; color: #ecd283; }
.bad { background: #4a2323; color: #f5a29b; }
.pictures th { font-weight: 500; color: #7d848e; text-align: left; padding: 0 .5rem .3rem 0;
  font-size: .9rem; }
.pictures th[scope=row] { writing-mode: vertical-rl; transform: rotate(180deg); text-align: center;
  padding: .3rem 0 0; }
.pictures th a { color: inherit; }
.pictures td { padding: 0 .5rem .5rem 0; vertical-align: top; }
.pictures img { display: block; width: max(150px, min(380px, calc(86vw / var(--across) - .5rem)));
  border-radius: 5px; }
.pair { display: inline-block; margin: 0 1.1rem 1rem 0; } .pair img { height: 220px; border-radius: 5px; }
.swatch { display: inline-block; width: .85em; height: .85em; border-radius: 2px; margin: 0 .35em 0 1em;
  vertical-align: -.08em; }
"""
