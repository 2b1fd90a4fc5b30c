import type { JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'

export interface TabLink {
  readonly name: string
  readonly title: string
  readonly link: string
}

interface TabsProps {
  readonly label: string
  readonly tabs: readonly TabLink[]
  readonly current: string
}

/** The parts of a page, as links. On a narrow screen they scroll sideways, and the one that is open is seen whole. */
export function Tabs({ label, tabs, current }: TabsProps): JSX.Element {
  const open = useRef<HTMLAnchorElement>(null)
  useEffect(() => {
    const show = () => open.current?.scrollIntoView({ block: 'nearest', inline: 'nearest' })
    show()
    addEventListener('resize', show)
    return () => removeEventListener('resize', show)
  }, [current])
  return (
    <nav class="tabs" aria-label={label}>
      {tabs.map(({ name, title, link }) => (
        <a
          key={name}
          href={link}
          aria-current={name === current ? 'page' : undefined}
          ref={name === current ? open : null}
        >
          {title}
        </a>
      ))}
    </nav>
  )
}
