// The site of docs/: `make docs`. Pages are Markdown as GitHub shows it; a link
// that leaves docs/ becomes one into the repository, and one that leads nowhere
// fails the build. Nothing is loaded from elsewhere: search is local, fonts are
// the reader's own.
import { existsSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const docs = path.join(root, 'docs')
const repository = 'https://github.com/printerrelay/printer-relay/blob/main/'

// The anchors that GitHub makes.
const slugify = (text) =>
  text.trim().toLowerCase().replace(/[^\p{L}\p{N}_ -]/gu, '').replaceAll(' ', '-')

// outside makes links out of docs/ such into the repository.
const outside = (md) => {
  const render = md.renderer.rules.link_open ?? ((tokens, i, options, _, self) => self.renderToken(tokens, i, options))
  md.renderer.rules.link_open = (tokens, i, options, env, self) => {
    const href = tokens[i].attrGet('href')
    if (href && !/^([a-z]+:|#|\/)/.test(href) && env.path) {
      const [file, anchor] = href.split('#')
      const target = path.resolve(path.dirname(env.path), decodeURI(file))
      if (path.relative(docs, target).startsWith('..') || !/\.md$/.test(file)) {
        if (!existsSync(target)) throw new Error(`${path.relative(root, env.path)}: ${href} is not there`)
        tokens[i].attrSet('href', repository + path.relative(root, target) + (anchor ? '#' + anchor : ''))
      }
    }
    return render(tokens, i, options, env, self)
  }
}

const pages = (folder, ...names) => names.map(([text, name]) => ({ text, link: `/${folder}${name}` }))

export default defineConfig({
  title: 'Printer Relay',
  description: 'Scan to e-mail that goes on working',
  lang: 'en',
  srcDir: docs,
  outDir: path.join(root, 'bin', 'site'),
  cacheDir: path.join(root, 'bin', '.site-cache'),
  base: process.env.SITE_BASE ?? '/',
  rewrites: { 'README.md': 'index.md', 'runbooks/README.md': 'runbooks/index.md', 'copiers/README.md': 'copiers/index.md', 'upstreams/README.md': 'upstreams/index.md' },
  cleanUrls: false,
  lastUpdated: false,
  markdown: { anchor: { slugify }, toc: { slugify }, config: outside },
  // A kind's fields are found by the names of their types.
  transformPageData: (page) => page.relativePath === 'reference/api.md' && { frontmatter: { ...page.frontmatter, outline: 'deep' } },
  vite: { server: { fs: { allow: [root] } }, resolve: { alias: { vue: path.join(root, 'hack/site/node_modules/vue') } } },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Platform', link: '/install' },
      { text: 'On call', link: '/runbooks/' },
      { text: 'IT desk', link: '/cannot-scan' },
      { text: 'Security', link: '/security' },
    ],
    sidebar: [
      { text: 'Begin', items: pages('', ['Five minutes', 'start'], ['Concepts', 'concepts'], ['Moving', 'moving']) },
      {
        text: 'For the IT desk',
        items: pages('', ['A copier cannot scan', 'cannot-scan'], ['What a copier shows', 'replies'], ['Setting up copiers', 'copiers/'], ['Old devices', 'compatibility'], ['Console', 'console'], ['Copiers seen', 'inventory'],
          ['What became of a scan', 'history'], ['Failed sessions', 'sessions'], ['Notices of failure', 'notices']),
      },
      {
        text: 'On call',
        items: pages('', ['Runbooks', 'runbooks/'], ['Failures in plain words', 'failures'], ['kubectl plugin', 'kubectl'], ['Kill switch and holds', 'holds'], ['Webhooks', 'webhooks'], ['Metrics', 'metrics']),
      },
      {
        text: 'For the platform engineer',
        items: pages('', ['Installing', 'install'], ['Without a cluster', 'standalone'], ['Upgrading', 'upgrading'], ['GitOps', 'gitops'], ['Sizing', 'sizing'], ['The operator', 'operator'],
          ['Durability', 'durability'], ['Limits', 'limits'], ['Performance', 'performance']),
      },
      {
        text: 'Where mail goes',
        items: [
          ...pages('upstreams/', ['Which one, and the steps', ''], ['Amazon SES', 'ses'], ['Microsoft 365', 'microsoft365'], ['Microsoft Graph', 'microsoft365-graph'], ['Direct MX', 'mx'], ['SendGrid', 'sendgrid'], ['Mailgun', 'mailgun'],
            ['Postmark', 'postmark'], ['Any smarthost', 'smtp'], ['Translation for APIs', 'translation']),
          ...pages('', ['DNS', 'dns'], ['DKIM', 'dkim'], ['Checks of upstreams', 'preflight']),
        ],
      },
      {
        text: 'For the security officer',
        items: pages('', ['Security model', 'security'], ['Who may send what', 'policy'], ['Least privilege', 'least-privilege'], ['Differences from Postfix', 'postfix-differences']),
      },
      { text: 'Reference', items: pages('', ['The kinds', 'reference/api'], ['Architecture', 'architecture'], ['Development', 'development'], ['Dependencies', 'dependencies']) },
    ],
  },
})
