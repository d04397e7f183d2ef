// Walks through pages in a real Chromium and tells what it found, as JSON on
// standard output. The job is JSON on standard input:
//   {chromium, base, pages: [path], headers: {}, cookies: [], checks: [name], shots: [{path, file, scheme, width, height}], steps: []}
// It judges nothing: the Go test that started it does.
"use strict";
const { chromium } = require("playwright-core");
const { AxeBuilder } = require("@axe-core/playwright");

const WAIT = 60000;

async function main() {
  const job = JSON.parse(await text(process.stdin));
  const browser = await chromium.launch({ executablePath: job.chromium, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"], timeout: WAIT });
  const found = { pages: {}, shots: [], said: {} };
  try {
    for (const check of job.checks || []) await checks[check](browser, job, found);
    for (const shot of job.shots || []) await shoot(browser, job, shot);
  } finally {
    await browser.close();
  }
  process.stdout.write(JSON.stringify(found));
}

// open makes a context in which everything that goes wrong is noted for the page.
async function open(browser, job, options, note) {
  const context = await browser.newContext({ reducedMotion: "reduce", timezoneId: "UTC", locale: "en-GB", ignoreHTTPSErrors: true, ...options });
  context.setDefaultTimeout(WAIT);
  if (job.cookies) await context.addCookies(job.cookies);
  const page = await context.newPage();
  page.on("console", (m) => { if (m.type() === "error" || m.type() === "warning") note("console: " + m.text()); });
  page.on("pageerror", (e) => note("script: " + e.message));
  page.on("request", (r) => { if (!r.url().startsWith(job.base)) note("asks elsewhere: " + r.url()); });
  page.on("dialog", (d) => { note("dialog: " + d.message()); d.dismiss(); });
  return { context, page };
}

function of(found, path) {
  return (found.pages[path] ||= { problems: [] });
}

const checks = {
  // Every page by axe: in light and wide by all rules, then in dark at 320 pixels (WCAG
  // 1.4.10), which is what a window of 640 has at a zoom of 200 %, by those that look at it.
  async axe(browser, job, found) {
    let path = "";
    let looks = "";
    const note = (s) => of(found, path).problems.push(`${looks}: ${s}`);
    const { context, page } = await open(browser, job, { viewport: { width: 1280, height: 900 } }, note);
    const narrow = ["color-contrast", "target-size", "scrollable-region-focusable", "link-in-text-block", "meta-viewport"];
    for (path of job.pages) {
      for (const scheme of ["light", "dark"]) {
        looks = scheme;
        await page.setViewportSize({ width: scheme === "light" ? 1280 : 320, height: 900 });
        await page.emulateMedia({ colorScheme: scheme });
        if (scheme === "light") {
          const r = await page.goto(job.base + path);
          of(found, path).status = r.status();
          of(found, path).title = await page.title();
        }
        const axe = new AxeBuilder({ page });
        const results = await (scheme === "light" ? axe.withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]) : axe.withRules(narrow)).analyze();
        of(found, path).passes = (of(found, path).passes || 0) + results.passes.length;
        for (const v of results.violations) note(`axe: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html + " " + n.failureSummary).join(" | ")}`);
        const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (over > 0) note(`${over} pixels are beyond the side of the window`);
      }
    }
    await context.close();
  },

  // In windows of a desk and a phone lists need no scrolling sideways, with the colours of
  // the reader's system (forced colours) it is seen what is what, on paper all is dark on
  // white, within the page and without what one clicks at, and times are the reader's.
  async looks(browser, job, found) {
    let path = "";
    let how = "";
    const note = (s) => of(found, path).problems.push(`${how}: ${s}`);
    const { context, page } = await open(browser, job, { timezoneId: "Asia/Kolkata" }, note);
    const beyond = () => [...document.querySelectorAll(".scroll:has(.list)")].map((e) => e.scrollWidth - e.clientWidth).filter((n) => n > 1);
    for (path of job.pages) {
      how = "wide";
      await page.emulateMedia({ media: "screen", forcedColors: "none", colorScheme: "light" });
      await page.setViewportSize({ width: 1280, height: 900 });
      await page.goto(job.base + path);
      for (const n of await page.evaluate(beyond)) note(`a list goes ${n} pixels beyond the side`);
      const zones = await page.evaluate(() => [...document.querySelectorAll("time[data-to],.zone")].map((e) => e.textContent).filter((s) => !/GMT\+5:30|IST/.test(s)));
      if (zones.length > 0) note(`not the reader's time: ${zones[0]}`);
      how = "narrow";
      await page.setViewportSize({ width: 375, height: 700 });
      for (const n of await page.evaluate(beyond)) note(`a list goes ${n} pixels beyond the side`);
      how = "forced colours";
      await page.setViewportSize({ width: 1280, height: 900 });
      await page.emulateMedia({ forcedColors: "active" });
      for (const s of await page.evaluate(() => {
        const out = [], look = (e) => getComputedStyle(e);
        const tabs = [...document.querySelectorAll("nav li a")], line = (e) => look(e).borderBottomColor;
        const current = tabs.find((e) => e.hasAttribute("aria-current"));
        if (current && tabs.some((e) => e !== current && line(e) === line(current))) out.push("the page that is open looks like the others in the navigation");
        const ground = look(document.body).backgroundColor;
        for (const e of document.querySelectorAll(".key")) if ([ground, look(document.documentElement).backgroundColor, "rgba(0, 0, 0, 0)"].includes(look(e).backgroundColor)) out.push("a key of the plot has no colour");
        for (const e of document.querySelectorAll(".badge")) if (look(e).borderTopStyle === "none") out.push("a badge has no border");
        return [...new Set(out)];
      })) note(s);
      how = "on paper";
      await page.emulateMedia({ media: "print", forcedColors: "none", colorScheme: "dark" });
      await page.setViewportSize({ width: (await page.evaluate(() => !!document.querySelector(".list"))) ? 1046 : 718, height: 900 }); // A4, across or upright
      for (const s of await page.evaluate(() => {
        const out = [], dark = (c) => Math.max(...c.match(/\d+/g).slice(0, 3).map(Number)) < 180;
        const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
        if (over > 1) out.push(`${over} pixels are beyond the side`);
        for (const e of document.querySelectorAll("main *, footer *")) {
          if (!e.checkVisibility()) continue;
          if (e.matches("button,form,input,select")) out.push("there is something to click at: " + e.outerHTML.slice(0, 80));
          if (e.childNodes.length && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && !dark(getComputedStyle(e).color)) out.push("pale: " + e.outerHTML.slice(0, 80));
        }
        return out.slice(0, 3);
      })) note(s);
    }
    await context.close();
  },

  // Without a script the same headings, links and fields are there.
  async scriptless(browser, job, found) {
    const outline = () => ({
      headings: [...document.querySelectorAll("h1,h2,h3,caption")].map((e) => e.textContent.trim().replace(/just now|\d+ (second|minute)s? ago/g, "some time ago")), // the two are not asked for at once
      links: [...document.querySelectorAll("a[href]")].map((e) => e.getAttribute("href")),
      fields: [...document.querySelectorAll("input,select,textarea")].map((e) => e.name),
    });
    let path = "";
    const note = (s) => of(found, path).problems.push("script or not: " + s);
    const plain = await open(browser, job, { javaScriptEnabled: false }, note);
    const full = await open(browser, job, {}, note);
    for (path of job.pages) {
      await plain.page.goto(job.base + path);
      await full.page.goto(job.base + path);
      const [a, b] = [JSON.stringify(await plain.page.evaluate(outline)), JSON.stringify(await full.page.evaluate(outline))];
      if (a !== b) note(`differs:\n${a}\n${b}`);
    }
    await plain.context.close();
    await full.context.close();
  },

  // All that can be used is reached by Tab, in order, and is seen to have the focus.
  async keyboard(browser, job, found) {
    let path = "";
    const note = (s) => of(found, path).problems.push("keyboard: " + s);
    const { context, page } = await open(browser, job, { viewport: { width: 1280, height: 900 } }, note);
    for (path of job.pages) {
      await page.goto(job.base + path);
      const want = await page.evaluate(() => {
        const all = [...document.querySelectorAll("a[href],button,input:not([type=hidden]),select,textarea,summary,[tabindex='0']")];
        const seen = all.filter((e) => e.checkVisibility() && !e.disabled);
        seen.forEach((e, i) => { e.dataset.walk = i; });
        return seen.length;
      });
      const reached = [];
      for (let i = 0; i <= want; i++) {
        await page.keyboard.press("Tab");
        const at = await page.evaluate(() => {
          const e = document.activeElement;
          if (!e || e === document.body) return null;
          const s = getComputedStyle(e), r = e.getBoundingClientRect();
          return { n: Number(e.dataset.walk), html: e.outerHTML.slice(0, 120), outline: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2, inside: r.bottom > 0 && r.top < innerHeight && r.right > 0 && r.left < innerWidth };
        });
        if (!at || (reached.length === want && at.n === 0)) break; // out of the page, or round
        if (reached.length === 0 && !at.html.includes('class="skip"')) note("the first stop is no link past the navigation: " + at.html);
        if (!at.outline) note("the focus is not seen on " + at.html);
        if (!at.inside) note("the focus is outside of the window: " + at.html);
        reached.push(at.n);
      }
      if (reached.length !== want || reached.some((n, i) => n !== i)) note(`${want} things can be used, Tab reaches ${JSON.stringify(reached)}`);
      of(found, path).stops = reached.length;
      // The link past the navigation leads there.
      await page.locator(".skip").focus();
      await page.keyboard.press("Enter");
      if (!(await page.evaluate(() => document.activeElement?.id === "main"))) note("the link past the navigation leads nowhere");
    }
    await context.close();
  },

  // The job's own steps, in one page.
  async steps(browser, job, found) {
    const said = found.said;
    const { context, page } = await open(browser, job, { viewport: { width: 1280, height: 900 } }, (s) => (said.problems ||= []).push(s));
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(job.base).origin });
    for (const s of job.steps) {
      if (s.goto !== undefined) await page.goto(job.base + s.goto);
      if (s.fill) await page.locator(s.fill).fill(s.text);
      if (s.click) await page.locator(s.click).first().click();
      if (s.expect) await page.getByText(s.expect).first().waitFor();
      if (s.text && s.as) said[s.as] = await page.locator(s.text).allInnerTexts();
      if (s.url) said[s.url] = page.url();
      if (s.clipboard) said[s.clipboard] = await page.evaluate(() => navigator.clipboard.readText());
      if (s.pdf) await page.pdf({ path: s.pdf, format: "A4" });
      if (s.shot) await page.locator(s.shot).first().screenshot({ path: s.file });
    }
    await context.close();
  },
};

async function shoot(browser, job, shot) {
  const { context, page } = await open(browser, job, { colorScheme: shot.scheme, viewport: { width: shot.width, height: shot.height } }, (s) => { throw new Error(s); });
  await page.goto(job.base + shot.path);
  await page.screenshot({ path: shot.file, clip: { x: 0, y: 0, width: shot.width, height: shot.height } });
  await context.close();
}

async function text(stream) {
  const parts = [];
  for await (const p of stream) parts.push(p);
  return Buffer.concat(parts).toString("utf8");
}

main().catch((e) => { console.error(e); process.exit(1); });
