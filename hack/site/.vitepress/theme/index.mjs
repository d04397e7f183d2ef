// The default theme with wider tables.
import DefaultTheme from 'vitepress/theme-without-fonts'
import './tables.css'

export default DefaultTheme
