import './no-eval.ts'
import { render } from 'preact'
import { App } from './app.tsx'
import { startLanguage } from './i18n/index.ts'
import { session } from './live/session.ts'
import { startTheme } from './ui/theme.ts'
import './style.css'

startTheme()
const root = document.getElementById('app')
if (root !== null) {
  void startLanguage().then(() => {
    render(<App />, root)
    void session.start()
  })
}
