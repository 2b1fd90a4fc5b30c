import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'

/** Rows beyond the edge, so that scrolling shows no gap. */
const SPARE = 8

/**
 * Draws the rows that can be seen, of however many. Every row has one height. For a screen reader it is a table with
 * all its rows counted.
 */
export function VirtualList<T>({
  items,
  rowHeight,
  row,
  label,
  head,
}: {
  items: readonly T[]
  rowHeight: number
  row: (item: T, index: number) => ComponentChildren
  label: string
  head?: ComponentChildren
}): JSX.Element {
  const box = useRef<HTMLDivElement>(null)
  const [view, setView] = useState({ top: 0, height: 800 })
  useEffect(() => {
    const element = box.current
    if (element === null) return
    const measure = () => setView({ top: element.scrollTop, height: element.clientHeight })
    measure()
    element.addEventListener('scroll', measure, { passive: true })
    const observer = new ResizeObserver(measure)
    observer.observe(element)
    return () => {
      element.removeEventListener('scroll', measure)
      observer.disconnect()
    }
  }, [])
  const first = Math.max(0, Math.floor(view.top / rowHeight) - SPARE)
  const last = Math.min(items.length, Math.ceil((view.top + view.height) / rowHeight) + SPARE)
  return (
    <div
      class="virtual"
      ref={box}
      role="table"
      aria-label={label}
      aria-rowcount={items.length + 1}
      tabIndex={0}
    >
      {head}
      <div class="virtual-space" role="rowgroup" style={{ height: `${items.length * rowHeight}px` }}>
        <div
          class="virtual-rows"
          role="presentation"
          style={{ transform: `translateY(${first * rowHeight}px)` }}
        >
          {items.slice(first, last).map((item, index) => row(item, first + index))}
        </div>
      </div>
    </div>
  )
}
